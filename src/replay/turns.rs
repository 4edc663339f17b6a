//! Which worker does what, and how far ahead it may be.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread::Thread;
use std::time::Duration;

use super::lock;

/// Whose turn it is: the next task to take, and how many have been told.
#[derive(Debug)]
pub(super) struct Turns {
    tasks: usize,
    ahead: usize,
    state: Mutex<TurnState>,
    told: Condvar,
}

#[derive(Debug, Default)]
struct TurnState {
    next: usize,
    told: usize,
    waiting: usize,
    ended: bool,
}

impl Turns {
    /// So many tasks, of which none is taken that lies further ahead of the first one that is not told.
    pub(super) fn new(tasks: usize, ahead: usize) -> Self {
        Self { tasks, ahead, state: Mutex::default(), told: Condvar::new() }
    }

    /// The next task, once it is not too far ahead; none when there are no more.
    pub(super) fn take(&self) -> Option<usize> {
        let mut state = lock(&self.state);
        while !state.ended && state.next >= state.told + self.ahead {
            state.waiting += 1;
            state = self.told.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
        self.next(&mut state)
    }

    /// The next task, if it is not too far ahead.
    pub(super) fn try_take(&self) -> Option<usize> {
        let mut state = lock(&self.state);
        if state.next >= state.told + self.ahead { None } else { self.next(&mut state) }
    }

    fn next(&self, state: &mut TurnState) -> Option<usize> {
        if state.ended || state.next >= self.tasks {
            return None;
        }
        state.next += 1;
        Some(state.next - 1)
    }

    /// So many tasks were told.
    pub(super) fn tell(&self, told: usize) {
        let mut state = lock(&self.state);
        state.told = state.told.max(told);
        if state.waiting > 0 {
            self.told.notify_all();
        }
    }

    pub(super) fn end(&self) {
        lock(&self.state).ended = true;
        self.told.notify_all();
    }
}

/// How many workers are at work, for the thread that waits for them.
#[derive(Debug)]
pub(super) struct Running {
    workers: AtomicUsize,
    waiter: Thread,
}

/// One of the workers; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct One<'r> {
    running: &'r Running,
    turns: &'r Turns,
}

impl Running {
    pub(super) fn new(workers: usize) -> Self {
        Self { workers: AtomicUsize::new(workers), waiter: std::thread::current() }
    }

    pub(super) fn one<'r>(&'r self, turns: &'r Turns) -> One<'r> {
        One { running: self, turns }
    }

    /// Waits for their end, or so long; whether some are still at work.
    pub(super) fn wait(&self, most: Duration) -> bool {
        if self.workers.load(Ordering::Acquire) > 0 {
            std::thread::park_timeout(most);
        }
        self.workers.load(Ordering::Acquire) > 0
    }
}

impl Drop for One<'_> {
    fn drop(&mut self) {
        // Nobody is to wait for the task of a worker that has failed.
        if std::thread::panicking() {
            self.turns.end();
        }
        self.running.workers.fetch_sub(1, Ordering::Release);
        self.running.waiter.unpark();
    }
}
