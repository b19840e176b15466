//! The thread's loop: what is to be done next, and what happens when the database fails.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::account::Account;
use super::front::missing;
use super::{Plan, Shared, tend};
use crate::gate::Lane;
use crate::ledger::{Cell, Count, DropReason};
use crate::state::{Store, StoreError};

/// Rows are written so often while anything comes in.
const GROUP: Duration = Duration::from_millis(20);
/// How soon it is tried again to take or to refill what was left.
const SOON: Duration = Duration::from_millis(5);
/// For so long another process may hold a lock before that is trouble; and after.
const PATIENT: Duration = Duration::from_secs(2);
const IMPATIENT: Duration = Duration::from_millis(20);
/// The log is wanted shorter so often at most.
const PRESS: Duration = Duration::from_millis(50);
/// A database that others lock for so long is one that can't be used.
const LOCKED: Duration = Duration::from_secs(30);
/// For so long a lock at the start keeps new lines behind rows that may be there.
const LOCKED_AT_START: Duration = Duration::from_secs(5);
/// How often it is looked whether a destination went down, and whether there is something to tidy.
const LOOK: Duration = Duration::from_secs(1);
/// How often a database that can't be opened is tried again.
const RETRY: Duration = Duration::from_secs(2);
/// The same trouble is logged once in so long.
const COMPLAIN: Duration = Duration::from_secs(60);
/// A destination is down for so long: its send ring is copied to rows.
pub(super) const DOWN: Duration = Duration::from_secs(1);

/// Why something was left undone.
#[derive(Debug)]
pub(super) enum Trouble {
    /// This worker is frozen.
    Frozen,
    /// The database.
    Store(StoreError),
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Trouble {
        Trouble::Store(error)
    }
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct Engine {
    pub plan: Plan,
    pub shared: Arc<Shared>,
    pub accounts: Vec<Account>,
    pub store: Option<Store>,
    /// The accounts are as the database and the ledger say.
    synced: bool,
    /// How often this worker had been frozen then.
    pub epoch: u64,
    migrated: bool,
    next_group: Instant,
    next_look: Instant,
    retry_at: Instant,
    complained: Option<(String, Instant)>,
    /// Since it was last well, somebody was told that it isn't.
    told: bool,
    /// What was found in the file that was open: it has to be moved aside.
    damage: Option<String>,
    /// The file that is open was begun anew, and the table isn't in it yet.
    pub(super) anew: bool,
    /// How many databases were opened.
    opened: u64,
    /// The thread that has the log copied.
    checkpoints: Option<std::thread::Thread>,
    pressed_at: Instant,
    /// Since when a checkpoint is needed before there is room on the disk.
    pub(super) tight_since: Option<Instant>,
    /// Since when the log takes half of `max_size`.
    pub(super) long_since: Option<Instant>,
    /// Whose turn it is to be the first in a transaction.
    pub first: usize,
    /// Since when another process locks it.
    locked_since: Option<Instant>,
    /// What the database said last, while it takes nothing.
    trouble: Option<StoreError>,
    /// The database takes nothing, or less than it is given.
    failing: bool,
}

impl Engine {
    pub fn new(plan: Plan, shared: Arc<Shared>) -> Engine {
        let accounts = plan
            .destinations
            .iter()
            .cloned()
            .map(Account::new)
            .collect();
        let now = Instant::now();
        Engine {
            plan,
            shared,
            accounts,
            store: None,
            synced: false,
            epoch: 0,
            migrated: false,
            next_group: now,
            next_look: now,
            retry_at: now,
            complained: None,
            told: false,
            damage: None,
            anew: false,
            opened: 0,
            checkpoints: None,
            pressed_at: now,
            tight_since: None,
            long_since: None,
            first: 0,
            locked_since: None,
            trouble: None,
            failing: false,
        }
    }

    pub fn run(mut self) {
        match tend::start(&self.plan, &self.shared) {
            Ok(thread) => self.checkpoints = Some(thread.thread().clone()),
            Err(error) => tracing::error!(%error, "nobody copies the log of the database"),
        }
        while !self.shared.ending.load(Ordering::SeqCst) {
            let wait = match self.shared.frozen.load(Ordering::SeqCst) {
                true => {
                    self.synced = false;
                    self.refuse_errands("a restart is under way");
                    LOOK
                }
                false => self.turn(),
            };
            let (wanted, runtime) = (self.shared.wanted.clone(), self.plan.runtime.clone());
            if !wait.is_zero() {
                // Woken, or time is over: either way there is something to look at.
                let _either =
                    runtime.block_on(async { tokio::time::timeout(wait, wanted.notified()).await });
            }
        }
    }

    /// Takes the destinations that there are from now on. What is known of those that stay is kept.
    fn take_destinations(&mut self) {
        let next = self.shared.destinations.lock();
        let Some(next) = next.unwrap_or_else(|e| e.into_inner()).take() else {
            return;
        };
        let mut known: HashMap<String, Account> = std::mem::take(&mut self.accounts)
            .into_iter()
            .map(|account| (account.id().to_owned(), account))
            .collect();
        for destination in next {
            let account = known.remove(&destination.spec.id);
            let same = account.filter(|a| Arc::ptr_eq(&a.queue, &destination.queue));
            self.accounts.push(match same {
                Some(account) => Account {
                    destination,
                    ..account
                },
                None => Account::new(destination),
            });
        }
        self.first = 0;
    }

    /// One round. Returns how long there is nothing to do, unless somebody wakes it.
    fn turn(&mut self) -> Duration {
        self.take_destinations();
        let result = self.ready().and_then(|()| self.round());
        match result {
            Ok(wait) => wait,
            Err(Trouble::Frozen) => {
                // What was committed may be unknown to the ledger.
                self.synced = false;
                // The gate is closed before we are told.
                SOON
            }
            Err(Trouble::Store(error)) => {
                self.in_trouble(&error);
                self.relieve();
                self.refuse_for(&error);
                GROUP
            }
        }
    }

    /// Opens the database and agrees with it, unless that is done.
    fn ready(&mut self) -> Result<(), Trouble> {
        let epoch = self.shared.freezes.load(Ordering::SeqCst);
        if epoch != self.epoch {
            (self.epoch, self.synced) = (epoch, false);
        }
        let now = Instant::now();
        if self.store.is_none() {
            if let Some(trouble) = self.trouble.clone().filter(|_| now < self.retry_at) {
                return Err(trouble.into());
            }
            self.retry_at = now + RETRY;
            let opened = match self.damage.clone() {
                Some(damage) => Store::open_anew(&self.plan.settings, damage)?,
                None => Store::open(&self.plan.settings)?,
            };
            self.damage = None;
            if let Some(to) = opened.moved_aside {
                self.begun_anew(to, opened.damage);
            }
            self.store = Some(opened.store);
            self.synced = false;
            self.opened += 1;
            self.shared.opened.store(self.opened, Ordering::SeqCst);
        }
        self.write_table()?;
        if !self.synced {
            self.accounts
                .iter_mut()
                .for_each(|account| account.agreed = false);
        }
        if !self.synced || self.accounts.iter().any(|account| !account.agreed) {
            self.agree()?;
            self.synced = true;
        }
        if !self.migrated && self.shared.settled.load(Ordering::SeqCst) {
            if let Some(store) = &mut self.store {
                store.migrate()?;
            }
            self.migrated = true;
        }
        Ok(())
    }

    fn round(&mut self) -> Result<Duration, Trouble> {
        self.run_errands()?;
        let now = Instant::now();
        if now >= self.next_look {
            self.next_look = now + LOOK;
            self.look(now)?;
        }
        let mut more = false;
        for at in 0..self.accounts.len() {
            let account = &self.accounts[at];
            account.queue.set_live(account.is_up());
            more |= self.replay(at)?;
            more |= self.pass_on(at)?;
            self.turn_back(at)?;
        }
        let now = Instant::now();
        let full = self
            .intakes()
            .any(|queue| queue.intake.used() >= queue.size() / 4);
        if full || now >= self.next_group {
            more |= self.take_intakes()?;
            self.next_group = now + GROUP;
        }
        Ok(self.pause(more))
    }

    fn intakes(&self) -> impl Iterator<Item = &crate::queue::Queue> {
        self.accounts.iter().map(|account| &*account.queue)
    }

    /// How long until the next round, if nobody wakes it.
    fn pause(&self, more: bool) -> Duration {
        if more {
            return Duration::ZERO;
        }
        let mut pause = self.next_look.saturating_duration_since(Instant::now());
        for account in &self.accounts {
            let queue = &account.queue;
            if !queue.is_spooling() {
                continue;
            }
            let quarter = queue.size() / 4;
            // Woken when there is a quarter to take, or room to replay to.
            let takes = queue.intake.sleep_until(queue.intake.acked() + quarter);
            let send = &queue.send;
            let low = send.capacity() / if queue.policy().live_first { 8 } else { 4 };
            let refills = match send.used() > low {
                true => send.wake_when_left(send.head() - low),
                false => true,
            };
            // What wasn't done in this round waits for something that nobody tells of.
            if !takes || !refills {
                pause = pause.min(SOON);
            }
            if queue.intake.used() > 0 || (!account.replayed && account.is_up()) {
                pause = pause.min(GROUP);
            }
        }
        pause
    }

    /// Once a second: who is down, what is to be tidied.
    fn look(&mut self, now: Instant) -> Result<(), Trouble> {
        for at in 0..self.accounts.len() {
            let account = &mut self.accounts[at];
            if account.is_up() {
                account.down_since = None;
                continue;
            }
            let since = *account.down_since.get_or_insert(now);
            if account.spools() && account.queue.send.used() > 0 && now - since >= DOWN {
                self.keep_front(at)?;
            }
        }
        self.tidy()
    }

    /// Passes the gate, for a change of rings and ledger.
    pub fn lane<T>(&self, change: impl FnOnce(&mut Lane) -> T) -> Result<T, Trouble> {
        match self.plan.gate.enter() {
            Some(mut lane) if self.shared.is_current(self.epoch) => Ok(change(&mut lane)),
            _ => Err(Trouble::Frozen),
        }
    }

    /// The database; there is one once `ready` said so.
    pub fn store(&mut self) -> Result<&mut Store, Trouble> {
        Ok(self.store.as_mut().ok_or_else(missing)?)
    }

    fn in_trouble(&mut self, error: &StoreError) {
        self.trouble = Some(error.clone());
        match error {
            // It goes on with the same file.
            StoreError::Full => {}
            // And what can be done without a transaction goes on beside the attempts.
            StoreError::Busy => {
                self.be_patient(IMPATIENT);
                self.locked_since.get_or_insert_with(Instant::now);
            }
            StoreError::Damaged(damage) => {
                // The next opening moves it aside, at once unless this one has just been made.
                if self.store.take().is_some() {
                    self.damage = Some(damage.clone());
                }
                self.shared.opened.store(0, Ordering::SeqCst);
            }
            StoreError::Unavailable(_) | StoreError::Newer { .. } => {
                if self.store.take().is_some() {
                    self.retry_at = Instant::now() + RETRY;
                }
                self.shared.opened.store(0, Ordering::SeqCst);
            }
        }
        self.complain(error.to_string());
    }

    /// How long a transaction waits for those of other processes.
    fn be_patient(&self, limit: Duration) {
        if let Some(store) = &self.store
            && let Err(error) = store.wait_for_locks(limit)
        {
            tracing::debug!(%error, "it can't be told how long to wait");
        }
    }

    /// Says what is wrong, in the log once a minute.
    pub(super) fn complain(&mut self, text: String) {
        self.failing = true;
        self.shared.health().error = Some(text.clone());
        let now = Instant::now();
        let said = self.complained.as_ref();
        if said.is_none_or(|(said, at)| *said != text || now - *at >= COMPLAIN) {
            tracing::error!(
                path = %self.plan.settings.path.display(), error = text,
                "the spool doesn't take all that it is given: spool_full says what happens"
            );
            self.complained = Some((text, now));
            self.told = true;
        }
    }

    /// All that was to be written was written.
    pub(super) fn well(&mut self) {
        if !std::mem::take(&mut self.failing) {
            return;
        }
        if std::mem::take(&mut self.told) {
            tracing::info!(path = %self.plan.settings.path.display(), "the spool takes lines again");
        }
        if self.trouble.take() == Some(StoreError::Busy) {
            self.be_patient(PATIENT);
        }
        self.locked_since = None;
        self.shared.health().error = None;
        for account in &self.accounts {
            account.queue.set_dropping(false);
        }
    }

    /// Wants the log, which has so many bytes, to be begun anew.
    pub(super) fn press(&mut self, log: u64) {
        if self.pressed_at.elapsed() < PRESS {
            return;
        }
        self.pressed_at = Instant::now();
        self.shared.pressed.store(log.max(1), Ordering::SeqCst);
        if let Some(checkpoints) = &self.checkpoints {
            checkpoints.unpark();
        }
    }

    /// While the database takes nothing: what the policy says of a spool that is full.
    pub(super) fn relieve(&mut self) {
        use crate::spec::SpoolFull;
        // A lock isn't a spool that is full: senders wait for a while.
        let short_lock = self.trouble == Some(StoreError::Busy)
            && self
                .locked_since
                .is_some_and(|since| since.elapsed() < LOCKED);
        for at in 0..self.accounts.len() {
            if self.may_come_before(at) {
                continue;
            }
            // As far as is known nothing lies between, or it can't be had: the destination gets at once what there is.
            if self.accounts[at].queue.spooled_lines() == 0 || self.store.is_none() {
                self.accounts[at].replayed = true;
            }
            let passed = self.pass_on(at).and_then(|_| self.turn_back(at));
            if matches!(passed, Err(Trouble::Frozen)) {
                return;
            }
            let account = &self.accounts[at];
            if !account.spools() || short_lock {
                continue;
            }
            match account.destination.spec.spool.when_full {
                SpoolFull::Block => {}
                SpoolFull::DropNewest => account.queue.set_dropping(true),
                SpoolFull::DropOldest if account.queue.intake.is_above_mark() => {
                    let quarter = account.queue.size() as usize / 4;
                    if self.drop_oldest_of_intake(at, quarter).is_err() {
                        return;
                    }
                }
                SpoolFull::DropOldest => {}
            }
        }
    }

    /// Whether rows that aren't known yet may come before what is in the intake ring: another process locks the database, and this
    /// worker has never agreed with it. In a ring of a predecessor there may even be lines that are in rows already.
    fn may_come_before(&self, at: usize) -> bool {
        let inherited = self.accounts[at].queue.intake.cell(Cell::RingId) != 0;
        let limit = if inherited { LOCKED } else { LOCKED_AT_START };
        let unknown = !self.synced || !self.accounts[at].agreed;
        let locked = self.locked_since.filter(|_| unknown);
        locked.is_some_and(|since| since.elapsed() < limit)
    }

    /// Drops the oldest lines of an intake ring, and counts them.
    pub fn drop_oldest_of_intake(&self, at: usize, bytes: usize) -> Result<(), Trouble> {
        let intake = &self.accounts[at].queue.intake;
        let (oldest, lines) = intake.oldest(intake.acked(), bytes);
        let end = intake.acked() + oldest.len() as u64;
        self.lane(|lane| {
            lane.writer
                .add(intake.counts(), DropReason::SpoolFull, lines);
            intake.moved(&mut lane.writer, end, lines);
        })
    }

    /// Counts lines that a destination won't get.
    pub fn drop_spooled(
        &self,
        at: usize,
        reason: impl Into<Count>,
        lines: u64,
    ) -> Result<(), Trouble> {
        let account = &self.accounts[at];
        self.lane(|lane| {
            lane.writer.add(account.queue.counts(), reason, lines);
            account.book(&mut lane.writer, 0, lines);
            lane.writer.commit();
        })
    }

    /// Counts lines that were found in the spool, and that no route had given.
    pub fn import(&self, at: usize, lines: u64) -> Result<(), Trouble> {
        let account = &self.accounts[at];
        self.lane(|lane| {
            lane.writer
                .add(account.queue.counts(), Count::Imported, lines);
            account.book(&mut lane.writer, lines, 0);
            lane.writer.commit();
        })
    }
}
