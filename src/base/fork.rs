//! A number that is another one in every process, to notice a `fork()` (SEC-110).
//!
//! It lies in a page that the kernel empties in every child that has its own memory, however the
//! child was made (`fork`, a raw `clone`) and whatever IDs the two processes have. Where there is no
//! such page (macOS, Linux before 4.14) a handler of `pthread_atfork` empties the number, and the
//! process ID, which is in the number, tells of children that were made without it. A child that
//! shares its parent's memory (`vfork`) has the parent's number: to the library the two are one.
//!
//! Nothing here takes a lock: what another thread holds at the fork stays held in the child for ever.

use std::sync::atomic::{AtomicU64, Ordering};

/// How many numbers this process and those that it was forked from have drawn.
static DRAWN: AtomicU64 = AtomicU64::new(0);

/// This process's number; never 0, and none that a process had whose memory this one has inherited.
#[inline]
pub(crate) fn generation() -> u64 {
    Cell::of_this_process().generation()
}

/// Where the number is; 0 says that this process has drawn none yet.
struct Cell {
    number: &'static AtomicU64,
    /// Whether a number that is there can be the parent's.
    is_doubtful: bool,
}

impl Cell {
    #[inline]
    fn generation(&self) -> u64 {
        let number = self.number.load(Ordering::Relaxed);
        if number == 0 || (self.is_doubtful && number & ID != u64::from(std::process::id())) {
            self.draw(number)
        } else {
            number
        }
    }

    /// Draws a number in place of this one, unless another thread has done so.
    #[cold]
    fn draw(&self, former: u64) -> u64 {
        let count = DRAWN.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let number = (count << ID.count_ones()) | u64::from(std::process::id());
        match self.number.compare_exchange(former, number, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => number,
            Err(others) => others,
        }
    }
}

/// The bits of a number that hold the process ID.
const ID: u64 = u32::MAX as u64;

#[cfg(all(unix, not(miri)))]
mod system {
    use std::sync::atomic::{AtomicU64, Ordering};

    use once_cell::race::OnceRef;

    use super::Cell;

    static NUMBER: OnceRef<'static, AtomicU64> = OnceRef::new();
    /// What the handler empties where the kernel empties nothing.
    pub(super) static PLAIN: AtomicU64 = AtomicU64::new(0);

    impl Cell {
        #[inline]
        pub(super) fn of_this_process() -> Self {
            // Threads that meet here at the first call may map a page more, which stays unused.
            let number = NUMBER.get_or_init(|| emptied_page().unwrap_or_else(emptied_by_handler));
            Self { number, is_doubtful: std::ptr::eq(number, &PLAIN) }
        }
    }

    /// A page of zeroes that is one again in every child, if the kernel knows how to.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[allow(unsafe_code)]
    pub(super) fn emptied_page() -> Option<&'static AtomicU64> {
        const SIZE: usize = size_of::<AtomicU64>();
        let (access, kind) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new page of nobody else's; it is given back only where nobody has seen it. Its
        // zeroes, which start at the page's start, are an `AtomicU64`.
        unsafe {
            let page = libc::mmap(std::ptr::null_mut(), SIZE, access, kind, -1, 0);
            if page == libc::MAP_FAILED {
                return None;
            }
            // What takes an advice that does not exist takes any and follows none: older qemu-user.
            let is_honest = libc::madvise(page, SIZE, -1) != 0;
            if is_honest && libc::madvise(page, SIZE, libc::MADV_WIPEONFORK) == 0 {
                return Some(&*page.cast());
            }
            libc::munmap(page, SIZE);
        }
        None
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn emptied_page() -> Option<&'static AtomicU64> {
        None
    }

    /// The plain number, with a handler that empties it in a child. Without memory for the handler
    /// there is still the process ID.
    ///
    /// glibc takes the handler away when the library is unloaded (`pthread_atfork` is linked into the
    /// library, and names it); musl unloads nothing; macOS is untried.
    #[allow(unsafe_code)]
    pub(super) fn emptied_by_handler() -> &'static AtomicU64 {
        extern "C" fn empty() {
            PLAIN.store(0, Ordering::Relaxed);
        }
        // SAFETY: the handler stores one number, which it may in a child of any process.
        unsafe { libc::pthread_atfork(None, None, Some(empty)) };
        &PLAIN
    }
}

/// Here no process inherits another's memory. Miri has no processes.
#[cfg(any(not(unix), miri))]
impl Cell {
    fn of_this_process() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        Self { number: &NUMBER, is_doubtful: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a child in this way; whether the number there is the one that it is here.
    #[cfg(all(target_os = "linux", not(miri)))]
    #[allow(unsafe_code)]
    fn is_the_same_in_a_child(cell: &Cell, make_child: impl FnOnce() -> i64) -> bool {
        let before = cell.generation();
        let child = make_child();
        assert!(child >= 0, "no child");
        // SAFETY: the child compares two numbers and ends itself; the parent waits for it.
        unsafe {
            if child == 0 {
                let (first, second) = (cell.generation(), cell.generation());
                libc::_exit(i32::from(first == before) | i32::from(first != second) << 1);
            }
            let mut status = 0;
            let child = i32::try_from(child).expect("a process ID");
            assert_eq!(libc::waitpid(child, &mut status, 0), child);
            assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) < 2, "{status}");
            assert_eq!(cell.generation(), before);
            libc::WEXITSTATUS(status) == 1
        }
    }

    /// A child of the C library, and one that it knows nothing of.
    #[cfg(all(target_os = "linux", not(miri)))]
    #[allow(unsafe_code)]
    const WAYS: [fn() -> i64; 2] = [
        // SAFETY: see above for both.
        || i64::from(unsafe { libc::fork() }),
        || unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) },
    ];

    // SEC-110
    #[test]
    #[cfg(all(target_os = "linux", not(miri)))]
    fn a_child_has_another_number_however_it_was_made() {
        for make_child in WAYS {
            let page = Cell { number: system::emptied_page().expect("a page"), is_doubtful: false };
            assert!(!is_the_same_in_a_child(&page, make_child));
            let plain = Cell { number: system::emptied_by_handler(), is_doubtful: true };
            assert!(!is_the_same_in_a_child(&plain, make_child));
        }
    }

    // SEC-110: without the ID, only the handler tells a child from its parent.
    #[test]
    #[cfg(all(target_os = "linux", not(miri)))]
    fn the_handler_empties_the_number_of_a_child() {
        let plain = Cell { number: system::emptied_by_handler(), is_doubtful: false };
        let [fork, clone] = WAYS;
        assert!(!is_the_same_in_a_child(&plain, fork));
        assert!(is_the_same_in_a_child(&plain, clone));
    }

    #[test]
    fn all_threads_have_one_number() {
        let numbers: Vec<u64> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(generation)).collect();
            threads.into_iter().map(|thread| thread.join().expect("a number")).collect()
        });
        assert!(numbers.iter().all(|number| *number == generation() && *number != 0));
    }

    /// Prints what the look at the number costs beside the system call that gives the process ID:
    /// `cargo test --release --lib fork -- --ignored --nocapture`.
    #[test]
    #[ignore = "a measurement"]
    fn cost_of_a_look() {
        const ROUNDS: u32 = 10_000_000;
        let measure = |look: fn()| {
            let start = std::time::Instant::now();
            (0..ROUNDS).for_each(|_| look());
            start.elapsed() / ROUNDS
        };
        let number = measure(|| _ = std::hint::black_box(generation()));
        let id = measure(|| _ = std::hint::black_box(std::process::id()));
        println!("the number {number:?}, the process ID {id:?}");
    }
}
