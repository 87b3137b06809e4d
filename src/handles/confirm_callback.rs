use crate::base::environment;

/// For bindings to a language that can leave a callback before its first line, as Python does when
/// somebody presses Ctrl-C; programs have no use for it.
///
/// It says that the callback on this thread has run to its end. From the first time on, a callback
/// of this process that does not say so has failed. At the first time no callback need run.
#[uniffi::export]
pub fn confirm_callback() {
    environment::confirm_callback();
}
