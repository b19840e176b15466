//! Answers that are large, and asked for by many: made on a thread that moves no metrics, one at a time, and shared.
//!
//! With ten thousand destinations a status is 5 MB and takes a tenth of a second. However many ask, and however slowly they
//! read, there is a known number of them.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until, timeout};

use super::problem::{Problem, unavailable};
use super::v1::aside;

/// After one was made nobody makes another for so many times as long as that took: all of them together take at most a
/// quarter of a thread.
const REST: u32 = 3;
/// How long somebody waits until others have read theirs.
const PATIENCE: Duration = Duration::from_secs(1);

/// The last answer of a kind.
#[derive(Debug)]
pub(super) struct Kept {
    last: Arc<Mutex<Option<Last>>>,
    /// Of answers that somebody still reads, the last one included.
    places: Arc<Semaphore>,
}

#[derive(Debug)]
struct Last {
    /// When it was begun: it has all that was so by then.
    of: Instant,
    /// From when on there may be another.
    next: Instant,
    body: Bytes,
}

/// What is freed when nobody reads it any more.
struct Placed {
    body: Vec<u8>,
    _place: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Placed {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

impl Kept {
    /// There are at most so many in memory.
    pub fn new(most: usize) -> Kept {
        Kept {
            last: Arc::default(),
            places: Arc::new(Semaphore::new(most)),
        }
    }

    /// An answer that was begun at that time or later: the last one, or one that is made.
    ///
    /// # Errors
    /// It can't be made, or as many as there may be are still being read.
    pub async fn get<E: std::fmt::Display>(
        &self,
        not_before: Instant,
        make: impl FnOnce() -> Result<Vec<u8>, E> + Send + 'static,
    ) -> Result<Bytes, Problem> {
        let mut last = self.last.clone().lock_owned().await;
        if let Some(kept) = &*last {
            if kept.of >= not_before {
                return Ok(kept.body.clone());
            }
            sleep_until(kept.next).await;
        }
        // What nobody else reads makes room.
        *last = None;
        let place = timeout(PATIENCE, self.places.clone().acquire_owned()).await;
        let Ok(Ok(place)) = place else {
            let detail = "too many clients still read such an answer: ask again later";
            return Err(unavailable(detail));
        };
        // It is made to its end although who asked has gone: nobody else begins beside it.
        aside(move || {
            let of = Instant::now();
            let body = make().map_err(|error| unavailable(&error.to_string()))?;
            let body = Bytes::from_owner(Placed {
                body,
                _place: place,
            });
            let now = Instant::now();
            *last = Some(Last {
                of,
                next: now + (now - of) * REST,
                body: body.clone(),
            });
            Ok(body)
        })
        .await?
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn made(n: usize) -> Result<Vec<u8>, Infallible> {
        Ok(vec![b'x'; n])
    }

    #[tokio::test]
    async fn who_asks_while_one_is_made_shares_the_next() {
        let kept = Arc::new(Kept::new(9));
        let (count, all) = (Arc::new(AtomicUsize::new(0)), 50);
        let asked = (0..all).map(|_| {
            let (kept, count) = (kept.clone(), count.clone());
            tokio::spawn(async move {
                let make = move || {
                    // On a thread of its own: it holds up no other task.
                    std::thread::sleep(Duration::from_millis(20));
                    made(count.fetch_add(1, Ordering::SeqCst) + 1)
                };
                kept.get(Instant::now(), make).await.unwrap().len()
            })
        });
        for one in asked.collect::<Vec<_>>() {
            one.await.unwrap();
        }
        // Those that came in before the first was begun, and all the others.
        assert!((1..=3).contains(&count.load(Ordering::SeqCst)), "{count:?}");
    }

    #[tokio::test]
    async fn an_answer_is_as_new_as_it_was_asked_for() {
        let kept = Kept::new(9);
        let before = Instant::now();
        assert_eq!(kept.get(before, || made(1)).await.unwrap().len(), 1);
        assert_eq!(kept.get(before, || made(2)).await.unwrap().len(), 1);
        assert_eq!(kept.get(Instant::now(), || made(3)).await.unwrap().len(), 3);
    }

    #[tokio::test]
    async fn there_are_only_so_many_until_somebody_has_read_his() {
        let kept = Kept::new(2);
        let first = kept.get(Instant::now(), || made(1)).await.unwrap();
        let second = kept.get(Instant::now(), || made(2)).await.unwrap();
        assert!(kept.get(Instant::now(), || made(3)).await.is_err());
        drop(first);
        assert_eq!(kept.get(Instant::now(), || made(4)).await.unwrap().len(), 4);
        drop(second);
    }
}
