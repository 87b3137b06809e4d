//! Inputs: a text as it is, or changes to a genuine object, which reach deeper.

use arbitrary::{Arbitrary, Unstructured};
use serde_json::{Value, json};

/// What the fuzzer wants to be tried.
#[derive(Debug)]
pub enum Input<'a> {
    /// A JSON text, genuine or not: it begins with a bracket.
    Text(&'a str),
    /// Changes to an object of the target's choice.
    Edits(Vec<Edit>),
}

impl<'a> Input<'a> {
    pub fn read(data: &'a [u8]) -> Option<Self> {
        match data.first()? {
            b'{' | b'[' => std::str::from_utf8(data).ok().map(Self::Text),
            _ => Vec::arbitrary(&mut Unstructured::new(data)).ok().map(Self::Edits),
        }
    }

    /// The text, or the changed object as text.
    pub fn on(&self, genuine: &Value) -> String {
        match self {
            Self::Text(text) => (*text).to_owned(),
            Self::Edits(edits) => {
                let mut value = genuine.clone();
                apply(&mut value, edits);
                value.to_string()
            }
        }
    }
}

/// One change of a JSON value. A node is named by its place among all nodes, in order.
#[derive(Debug, Arbitrary)]
pub enum Edit {
    Remove(u8),
    Put(u8, Leaf),
    /// Changes one character of a text: of a key, a signature, a ciphertext.
    Flip {
        node: u8,
        at: u16,
        to: u8,
    },
    /// Shortens a text.
    Cut {
        node: u8,
        at: u16,
    },
    Copy {
        from: u8,
        to: u8,
    },
    Rename {
        node: u8,
        to: String,
    },
    Add {
        node: u8,
        name: String,
        leaf: Leaf,
    },
}

#[derive(Debug, Arbitrary)]
pub enum Leaf {
    Null,
    True,
    Integer(i64),
    Fraction(f64),
    Text(String),
    List,
    Object,
}

impl Leaf {
    fn value(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::True => Value::Bool(true),
            Self::Integer(number) => json!(number),
            Self::Fraction(number) => json!(number),
            Self::Text(text) => json!(text),
            Self::List => json!([]),
            Self::Object => json!({}),
        }
    }
}

/// Makes the changes, one after the other.
pub fn apply(value: &mut Value, edits: &[Edit]) {
    for edit in edits.iter().take(16) {
        edit.apply(value);
    }
}

impl Edit {
    fn apply(&self, value: &mut Value) {
        let mut paths = Vec::new();
        list(value, String::new(), &mut paths);
        let path = |node: u8| paths[usize::from(node) % paths.len()].clone();
        match self {
            Self::Remove(node) => drop(take(value, &path(*node))),
            Self::Put(node, leaf) => put(value, &path(*node), leaf.value()),
            Self::Flip { node, at, to } => change_text(value, &path(*node), |text| {
                let at = usize::from(*at) % text.len().max(1);
                if let Some(byte) = text.get_mut(at) {
                    *byte = b' ' + to % 95;
                }
            }),
            Self::Cut { node, at } => {
                change_text(value, &path(*node), |text| text.truncate(usize::from(*at)));
            }
            Self::Copy { from, to } => {
                let copy = value.pointer(&path(*from)).cloned().unwrap_or_default();
                put(value, &path(*to), copy);
            }
            Self::Rename { node, to } => {
                let path = path(*node);
                if let Some(moved) = take(value, &path) {
                    add(value, parent(&path), to, moved);
                }
            }
            Self::Add { node, name, leaf } => add(value, &path(*node), name, leaf.value()),
        }
    }
}

fn list(value: &Value, path: String, paths: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            for (name, member) in object {
                let name = name.replace('~', "~0").replace('/', "~1");
                list(member, format!("{path}/{name}"), paths);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                list(item, format!("{path}/{index}"), paths);
            }
        }
        _ => {}
    }
    paths.push(path);
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn take(value: &mut Value, path: &str) -> Option<Value> {
    let (parent, name) = path.rsplit_once('/')?;
    let name = name.replace("~1", "/").replace("~0", "~");
    match value.pointer_mut(parent)? {
        Value::Object(object) => object.remove(&name),
        Value::Array(items) => Some(items.remove(name.parse().ok()?)),
        _ => None,
    }
}

fn put(value: &mut Value, path: &str, new: Value) {
    if let Some(place) = value.pointer_mut(path) {
        *place = new;
    }
}

fn add(value: &mut Value, path: &str, name: &str, new: Value) {
    match value.pointer_mut(path) {
        Some(Value::Object(object)) => drop(object.insert(name.to_owned(), new)),
        Some(Value::Array(items)) => items.push(new),
        _ => {}
    }
}

fn change_text(value: &mut Value, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
    if let Some(Value::String(text)) = value.pointer_mut(path) {
        let mut bytes = text.clone().into_bytes();
        change(&mut bytes);
        *text = String::from_utf8_lossy(&bytes).into_owned();
    }
}
