//! What threads do to the table at the same time.

use loom::cell::UnsafeCell;
use loom::model::Builder;
use loom::sync::Arc;
use loom::thread;

use super::slots::{SlotKey, SlotTable};

/// An object whose uses loom follows.
struct Object {
    number: UnsafeCell<u32>,
    /// Set when it is dropped, which happens once.
    gone: std::sync::Arc<std::sync::atomic::AtomicUsize>,
}

// SAFETY: it is what the table promises: nobody has it for reading while it is written. loom checks it.
unsafe impl Sync for Object {}

impl Drop for Object {
    fn drop(&mut self) {
        // SAFETY: the pointer is the cell's; loom fails if anybody else uses it.
        self.number.with_mut(|number| unsafe { *number = u32::MAX });
        self.gone.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    }
}

/// The table, and how many objects are gone.
struct Stage {
    table: SlotTable<Object>,
    gone: std::sync::Arc<std::sync::atomic::AtomicUsize>,
}

impl Stage {
    fn new() -> Arc<Self> {
        Arc::new(Self { table: SlotTable::new(drop), gone: Default::default() })
    }

    fn insert(&self, number: u32) -> SlotKey {
        let object = Object { number: UnsafeCell::new(number), gone: self.gone.clone() };
        self.table.insert(object).expect("a slot")
    }

    /// The object's number, unless it was freed.
    fn read(&self, key: SlotKey) -> Option<u32> {
        let held = self.table.borrow(key)?;
        let object = held.as_ref().expect("an object");
        // SAFETY: the pointer is the cell's; loom fails if anybody writes meanwhile.
        Some(object.number.with(|number| unsafe { *number }))
    }

    fn gone(&self) -> usize {
        self.gone.load(std::sync::atomic::Ordering::SeqCst)
    }
}

/// Tries all orders in which one thread pushes another aside so often.
fn model(times: usize, work: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(times);
    builder.check(work);
}

fn spawn<T: 'static>(
    stage: &Arc<Stage>,
    work: impl FnOnce(&Stage) -> T + 'static,
) -> thread::JoinHandle<T> {
    let stage = stage.clone();
    thread::spawn(move || work(&stage))
}

#[test]
fn an_object_is_dropped_once_and_after_its_last_reader() {
    model(4, || {
        let stage = Stage::new();
        let key = stage.insert(7);
        let readers = [0; 2].map(|_| spawn(&stage, move |stage| stage.read(key)));
        assert!(stage.table.free(key));
        for reader in readers {
            assert!(matches!(reader.join().unwrap(), None | Some(7)));
        }
        assert_eq!((stage.read(key), stage.gone()), (None, 1));
    });
}

#[test]
fn one_of_two_that_free_an_object_does_it() {
    model(5, || {
        let stage = Stage::new();
        let key = stage.insert(7);
        let other = spawn(&stage, move |stage| stage.table.free(key));
        let reader = spawn(&stage, move |stage| stage.read(key));
        let own = stage.table.free(key);
        assert!(own != other.join().unwrap());
        assert!(matches!(reader.join().unwrap(), None | Some(7)));
        assert_eq!(stage.gone(), 1);
    });
}

#[test]
fn an_old_key_never_finds_the_next_object() {
    model(4, || {
        let stage = Stage::new();
        let old = stage.insert(1);
        let reader = spawn(&stage, move |stage| [stage.read(old), stage.read(old)]);
        let next = spawn(&stage, move |stage| {
            assert!(stage.table.free(old));
            let next = stage.insert(2);
            assert_eq!(stage.read(next), Some(2));
            next
        });
        let read = reader.join().unwrap();
        assert!(matches!(read, [Some(1) | None, None] | [Some(1), Some(1)]), "{read:?}");
        let next = next.join().unwrap();
        assert_eq!((stage.read(old), stage.read(next), stage.gone()), (None, Some(2), 1));
    });
}

#[test]
fn a_key_goes_to_another_thread_with_its_object() {
    model(5, || {
        let stage = Stage::new();
        // What the thread is told by is no more than a number: the table itself hands over the object.
        let first = stage.insert(1);
        let (index, generation) = (first.index, first.generation);
        assert!(stage.table.free(first));
        let guess = SlotKey { index, generation: generation + 1 };
        let guesser = spawn(&stage, move |stage| stage.read(guess));
        let second = stage.insert(2);
        assert_eq!(second, guess);
        assert!(matches!(guesser.join().unwrap(), None | Some(2)));
        assert!(stage.table.free(second));
        assert_eq!(stage.gone(), 2);
    });
}

/// A table whose list has two free slots.
fn with_two_free_slots() -> Arc<Stage> {
    let stage = Stage::new();
    for key in [stage.insert(0), stage.insert(0)] {
        assert!(stage.table.free(key));
    }
    stage
}

#[test]
fn two_threads_never_have_one_slot() {
    model(3, || {
        let stage = with_two_free_slots();
        let threads = [1, 3].map(|first| {
            spawn(&stage, move |stage| {
                let one = stage.insert(first);
                assert_eq!(stage.read(one), Some(first));
                assert!(stage.table.free(one));
                let two = stage.insert(first + 1);
                assert_eq!(stage.read(two), Some(first + 1));
                two
            })
        });
        let [one, other] = threads.map(|thread| thread.join().unwrap());
        assert_ne!(one.index, other.index);
        assert_eq!((stage.read(one), stage.read(other)), (Some(2), Some(4)));
        assert_eq!(stage.gone(), 4);
    });
}

// The list looks as before to who looked at it first, but what comes after its head does not.
#[test]
fn a_slot_that_came_back_is_taken_once() {
    model(4, || {
        let stage = with_two_free_slots();
        let one = spawn(&stage, |stage| [stage.insert(1), stage.insert(2)]);
        let other = spawn(&stage, |stage| {
            let [back, kept] = [stage.insert(3), stage.insert(4)];
            assert!(stage.table.free(back));
            kept
        });
        let ([one, two], kept) = (one.join().unwrap(), other.join().unwrap());
        assert_eq!([one, two, kept].map(|key| stage.read(key)), [Some(1), Some(2), Some(4)]);
        assert_eq!(stage.gone(), 3);
    });
}
