//! Lists of items and of their answers, each good or bad by itself.

use serde::Serialize;

use crate::error::{E2eeError, Result};
use crate::json;
use crate::megolm::Decrypted;
use crate::parallel;

/// How many answers a thread writes in one go.
const WRITE_AT_ONCE: usize = 64;

/// `[{"event": ...}, {"error": ...}]`
pub(super) fn events(results: Vec<Result<Decrypted>>) -> Result<String> {
    write(results, |text, event| push(text, "event", &event))
}

/// `[{"content": ...}, {"error": ...}]`; the contents are JSON texts.
pub(super) fn contents(results: Vec<Result<String>>) -> Result<String> {
    write(results, |text, content| {
        text.extend([r#"{"content":"#, &content, "}"]);
        Ok(())
    })
}

fn write<T: Send>(
    results: Vec<Result<T>>,
    write_good: impl Fn(&mut String, T) -> Result<()> + Sync,
) -> Result<String> {
    let count = results.len();
    let mut chunks = Vec::new();
    let mut results = results.into_iter();
    while results.len() > 0 {
        chunks.push(results.by_ref().take(WRITE_AT_ONCE).collect::<Vec<_>>());
    }
    let texts = parallel::map(chunks, count, |chunk| {
        let mut text = String::new();
        for result in chunk {
            if !text.is_empty() {
                text.push(',');
            }
            match result {
                Ok(good) => write_good(&mut text, good)?,
                Err(error) => push::<E2eeError>(&mut text, "error", &error)?,
            }
        }
        Ok(text)
    })?;
    let texts: Vec<String> = texts.into_iter().collect::<Result<_>>()?;
    Ok(format!("[{}]", texts.join(",")))
}

fn push<T: Serialize>(text: &mut String, name: &str, value: &T) -> Result<()> {
    text.extend([r#"{""#, name, r#"":"#, &json::to_text(value)?, "}"]);
    Ok(())
}
