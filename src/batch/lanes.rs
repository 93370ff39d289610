//! Many pieces of work over many lanes.
//!
//! Whichever lane is free takes the next item; results come out in the order of the items. What a result holds must not
//! depend on the lane, and then nothing depends on their number.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result};

/// Items, for each lane, that may be begun before the first one that is not done: results that wait for their turn are
/// lost when the process is killed.
const ITEMS_AHEAD: usize = 4;

/// Lanes, each with a thread of its own.
pub struct Lanes<L> {
    lanes: Vec<L>,
    pool: rayon::ThreadPool,
}

impl<L: Send + Sync> Lanes<L> {
    /// These lanes, of which there must be one at least.
    ///
    /// # Errors
    /// [`Error::Config`] without lanes, [`Error::Threads`] when their threads cannot be started.
    pub fn new(lanes: Vec<L>) -> Result<Self> {
        if lanes.is_empty() {
            return Err(Error::Config(
                "there is no device to compute on; name one, or leave the choice open".into(),
            ));
        }
        let threads = lanes.len();
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|lane| format!("lane-{lane}"))
            .build()
            .map_err(|source| Error::Threads { threads, source })?;
        Ok(Self { lanes, pool })
    }

    /// The lanes.
    pub fn all(&self) -> &[L] {
        &self.lanes
    }

    /// Does `work` for every item on some lane, and gives the results to `take` one at a time, in the order of the items,
    /// each as soon as those before it are there. Items are drawn when a lane is free for them.
    pub fn run<T: Send, R: Send>(
        &self,
        items: impl Iterator<Item = T> + Send,
        work: impl Fn(&L, T) -> R + Sync,
        take: impl FnMut(R) + Send,
    ) {
        let items = Mutex::new(items.enumerate());
        let results = Results {
            queue: Mutex::new(Queue { next: 0, early: BTreeMap::new(), abandoned: false, take }),
            moved: Condvar::new(),
            most_ahead: ITEMS_AHEAD * self.lanes.len(),
        };
        self.pool.broadcast(|context| {
            let lane = &self.lanes[context.index()];
            let _alarm = Alarm(&results);
            // Drawn in a statement of its own: the lock is not held while the item is worked on.
            while let Some((number, item)) = { locked(&items).next() } {
                if !results.await_turn(number) {
                    break;
                }
                results.put(number, work(lane, item));
            }
        });
    }
}

/// A lane that panics takes its item with it, but leaves what is locked whole; the panic itself ends the run.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Passes results on in order.
struct Results<R, F> {
    queue: Mutex<Queue<R, F>>,
    /// Notified when a result was passed on.
    moved: Condvar,
    most_ahead: usize,
}

struct Queue<R, F> {
    /// Number of the result that is to be passed on next.
    next: usize,
    /// Results that came before it was their turn.
    early: BTreeMap<usize, R>,
    /// Whether a lane has gone with an item, so that there is nothing to wait for.
    abandoned: bool,
    take: F,
}

impl<R, F: FnMut(R)> Results<R, F> {
    /// Returns when item `number` is not too far ahead of the results; whether the run goes on.
    fn await_turn(&self, number: usize) -> bool {
        let is_early = |queue: &mut Queue<R, F>| !queue.abandoned && number >= queue.next + self.most_ahead;
        let queue = self.moved.wait_while(locked(&self.queue), is_early);
        !queue.unwrap_or_else(PoisonError::into_inner).abandoned
    }

    fn put(&self, number: usize, result: R) {
        let mut queue = locked(&self.queue);
        queue.early.insert(number, result);
        while let Some(result) = {
            let next = queue.next;
            queue.early.remove(&next)
        } {
            (queue.take)(result);
            queue.next += 1;
        }
        self.moved.notify_all();
    }
}

/// Wakes the other lanes when one ends by a panic.
struct Alarm<'a, R, F>(&'a Results<R, F>);

impl<R, F> Drop for Alarm<'_, R, F> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            locked(&self.0.queue).abandoned = true;
            self.0.moved.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    fn squares(lanes: usize) -> Vec<usize> {
        let batch = Lanes::new((0..lanes).collect()).unwrap();
        let mut squares = Vec::new();
        let slow_when_early = |item: usize| {
            std::thread::sleep(Duration::from_millis(if item.is_multiple_of(7) { 3 } else { 0 }));
            item * item
        };
        batch.run(0..40, |_, item| slow_when_early(item), |square| squares.push(square));
        squares
    }

    #[test]
    fn results_come_in_the_order_of_the_items_whatever_the_number_of_lanes() {
        let expected: Vec<usize> = (0..40).map(|item| item * item).collect();
        for lanes in [1, 2, 4, 9] {
            assert_eq!(squares(lanes), expected, "{lanes} lanes");
        }
    }

    #[test]
    fn every_lane_works_at_once() {
        let batch = Lanes::new(vec![(); 3]).unwrap();
        let barrier = Barrier::new(3);
        // Passes only when three items are worked on side by side.
        batch.run(0..3, |(), _| barrier.wait().is_leader(), |_| ());
    }

    #[test]
    fn no_item_is_drawn_before_a_lane_is_free() {
        let (drawn, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let batch = Lanes::new(vec![(); 2]).unwrap();
        let items = (0..20).inspect(|_| {
            let at_work = drawn.fetch_add(1, Ordering::SeqCst) - done.load(Ordering::SeqCst);
            assert!(at_work < 2, "{at_work} items at work, and another is drawn");
        });
        let work = |(): &(), _| _ = done.fetch_add(1, Ordering::SeqCst);
        let mut taken = 0;
        batch.run(items, work, |()| taken += 1);
        assert_eq!(taken, 20);
    }

    #[test]
    fn no_lane_runs_far_ahead_of_a_slow_item() {
        let lanes = Lanes::new(vec![(); 2]).unwrap();
        let (done, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let slow = |(): &(), item: usize| {
            if item == 0 {
                while done.load(Ordering::SeqCst) + 1 < 2 * ITEMS_AHEAD {
                    std::thread::yield_now();
                }
                std::thread::sleep(Duration::from_millis(20));
                most.store(done.load(Ordering::SeqCst), Ordering::SeqCst);
            } else {
                done.fetch_add(1, Ordering::SeqCst);
            }
        };
        lanes.run(0..100, slow, |()| ());
        assert_eq!(most.load(Ordering::SeqCst), 2 * ITEMS_AHEAD - 1);
        assert_eq!(done.load(Ordering::SeqCst), 99);
    }

    #[test]
    #[should_panic(expected = "the third item")]
    fn a_panic_ends_the_run() {
        let lanes = Lanes::new(vec![(); 2]).unwrap();
        lanes.run(0..100, |(), item| assert_ne!(item, 3, "the third item"), |()| ());
    }

    #[test]
    fn no_items_and_no_lanes() {
        let batch = Lanes::new(vec![()]).unwrap();
        batch.run(std::iter::empty::<()>(), |(), ()| (), |()| panic!("there is no result"));
        assert!(Lanes::<()>::new(Vec::new()).err().unwrap().to_string().contains("no device"));
    }
}
