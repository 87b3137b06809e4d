//! Another static library in Rust, as a program may have one for media or calls: with threads, a
//! panic and an allocator of its own runtime.
use std::collections::HashMap;

#[unsafe(no_mangle)]
pub extern "C" fn other_work(number: u32) -> u32 {
    std::panic::set_hook(Box::new(|_| {}));
    let work = move || {
        let texts = HashMap::from([(number, number.to_string())]);
        assert_ne!(number, 3);
        texts[&number].len() as u32
    };
    std::thread::spawn(work).join().unwrap_or(99)
}
