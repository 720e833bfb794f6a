//! Child processes and folders that do not outlive this process, however it ends.
//!
//! Three nets: an exit hook stops everything gently (normal end, failed tests, `process::exit`); the kernel kills each
//! child when this process dies (SIGKILL); and folders that were left then are cleared by the next run.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use super::patience::until;

/// The signal that a child gets when this process dies without a word.
#[derive(Clone, Copy)]
pub(crate) enum OnDeath {
    /// It ends at once.
    Kill,
    /// It ends after clearing up.
    Terminate,
}

type Job = (Command, OnDeath, Sender<io::Result<Child>>);

/// Starts a child that dies with this process.
///
/// The kernel sends the death signal when the *thread* that started the child ends, and tests run in threads of their
/// own: therefore one thread that never ends starts them all. Children get a process group of their own, so that an
/// interrupt typed at the terminal is for us alone and things are stopped in order.
pub(crate) fn spawn(command: Command, on_death: OnDeath) -> io::Result<Child> {
    static SPAWNER: OnceLock<Mutex<Sender<Job>>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (jobs, queue) = channel::<Job>();
        std::thread::spawn(move || {
            for (mut command, on_death, answer) in queue {
                command.process_group(0);
                die_with_parent(&mut command, on_death);
                let _ = answer.send(command.spawn());
            }
        });
        Mutex::new(jobs)
    });
    let (answer, started) = channel();
    lock(spawner).send((command, on_death, answer)).expect("the spawner never ends");
    started.recv().expect("the spawner answers every job")
}

#[expect(unsafe_code, reason = "the parent-death signal can only be asked for between fork and exec")]
fn die_with_parent(command: &mut Command, on_death: OnDeath) {
    let signal = match on_death {
        OnDeath::Kill => libc::SIGKILL,
        OnDeath::Terminate => libc::SIGTERM,
    };
    // SAFETY: prctl is async-signal-safe and touches nothing of the parent's memory.
    unsafe {
        command.pre_exec(move || match libc::prctl(libc::PR_SET_PDEATHSIG, signal) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        });
    }
}

type Hook = Box<dyn FnOnce() + Send>;
static HOOKS: Mutex<Vec<Hook>> = Mutex::new(Vec::new());

/// Runs `hook` when this process exits, last one first; not when it is killed.
#[expect(unsafe_code, reason = "statics are not dropped at exit, and a control plane must not stay behind")]
pub(crate) fn at_exit(hook: impl FnOnce() + Send + 'static) {
    extern "C" fn run() {
        while let Some(hook) = { lock(&HOOKS).pop() } {
            hook();
        }
    }
    let mut hooks = lock(&HOOKS);
    hooks.push(Box::new(hook));
    if hooks.len() == 1 {
        // SAFETY: `run` takes no argument, never unwinds past a hook that does not panic, and touches only statics.
        unsafe { libc::atexit(run) };
    }
}

/// Ends a child: waits as long as `patience`, then by force.
pub(crate) fn end(child: &mut Child, patience: Duration) {
    let child = Mutex::new(child);
    let has_ended = || !matches!(lock(&child).try_wait(), Ok(None));
    if !until(patience, has_ended) {
        let mut child = lock(&child);
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// Sends a signal to a child that has not been waited for.
#[expect(unsafe_code, reason = "the standard library can only send SIGKILL")]
pub(crate) fn signal(child: &Child, signal: i32) {
    let id = i32::try_from(child.id()).expect("process ids are small");
    // SAFETY: kill has no memory effects; the child is not reaped, so the id is still its own.
    unsafe { libc::kill(id, signal) };
}

/// Cargo's target folder: three levels above this program (`target/debug/deps/tests-...`, `target/debug/examples/demo`).
pub(crate) fn target_folder() -> PathBuf {
    let program = std::env::current_exe().expect("the running program has a path");
    program.ancestors().nth(3).expect("the program lies in cargo's target folder").to_owned()
}

/// A folder for everything that this process leaves on disk; removed at exit, or by the next run.
pub(crate) fn session_folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let parent = target_folder().join("tmp");
        std::fs::create_dir_all(&parent).expect("the target folder can be written");
        clear_dead_sessions(&parent);
        let folder = parent.join(format!("session-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("the target folder can be written");
        let own = folder.clone();
        at_exit(move || {
            let _ = std::fs::remove_dir_all(own);
        });
        folder
    })
}

fn clear_dead_sessions(parent: &Path) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let id = name.to_str().and_then(|name| name.strip_prefix("session-"));
        if id.is_some_and(|id| !Path::new("/proc").join(id).exists()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// Locks, whatever a panicking test did while it held the lock: each value is whole after every statement.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
