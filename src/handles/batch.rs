//! Lists of answers, each good or bad by itself.

use serde::Serialize;

use crate::base::json;
use crate::base::parallel;
use crate::error::{E2eeError, Result};
use crate::sessions::megolm::Decrypted;

/// How many answers a thread writes in one go.
const WRITE_AT_ONCE: usize = 64;

/// `[{"event": ...}, {"error": ...}]`, written on all cores.
pub(super) fn events(results: Vec<Result<Decrypted>>) -> Result<String> {
    let count = results.len();
    let mut chunks = Vec::new();
    let mut results = results.into_iter();
    while results.len() > 0 {
        chunks.push(results.by_ref().take(WRITE_AT_ONCE).collect::<Vec<_>>());
    }
    let texts = parallel::map(chunks, count, |chunk| {
        let mut text = Vec::new();
        for result in chunk {
            text.push(b',');
            match result {
                Ok(event) => write_json(&mut text, "event", &event)?,
                Err(error) => write_json(&mut text, "error", &error)?,
            }
        }
        Ok(text)
    })?;
    let texts: Vec<Vec<u8>> = texts.into_iter().collect::<Result<_>>()?;
    let length: usize = texts.iter().map(Vec::len).sum();
    let mut all = Vec::with_capacity(length.saturating_add(2));
    all.push(b'[');
    for text in texts {
        // Each answer comes with a comma, which the first one does not need.
        all.extend_from_slice(if all.len() == 1 {
            text.get(1..).unwrap_or_default()
        } else {
            &text
        });
    }
    all.push(b']');
    String::from_utf8(all).map_err(|_| unwritable())
}

/// `[{"content": ...}, {"error": ...}]`; the contents are JSON texts, only copied, and there may be
/// many megabytes of them: threads would only make another copy.
pub(super) fn contents(results: Vec<Result<String>>) -> Result<String> {
    let mut length = 2_usize;
    let mut answers = Vec::with_capacity(results.len());
    for result in results {
        let answer = match result {
            Ok(content) => (r#"{"content":"#, content),
            Err(error) => (r#"{"error":"#, json::to_text(&error)?),
        };
        // With its closing brace and a comma.
        length = length.saturating_add(answer.0.len()).saturating_add(answer.1.len());
        length = length.saturating_add(2);
        answers.push(answer);
    }
    let mut all = Vec::with_capacity(length);
    all.push(b'[');
    for (begin, answer) in answers {
        if all.len() > 1 {
            all.push(b',');
        }
        all.extend_from_slice(begin.as_bytes());
        all.extend_from_slice(answer.as_bytes());
        all.push(b'}');
    }
    all.push(b']');
    String::from_utf8(all).map_err(|_| unwritable())
}

fn write_json<T: Serialize>(text: &mut Vec<u8>, name: &str, value: &T) -> Result<()> {
    text.extend_from_slice(br#"{""#);
    text.extend_from_slice(name.as_bytes());
    text.extend_from_slice(br#"":"#);
    serde_json::to_writer(&mut *text, value).map_err(|_| unwritable())?;
    text.push(b'}');
    Ok(())
}

fn unwritable() -> E2eeError {
    E2eeError::invalid_json("the answers cannot be written as JSON")
}
