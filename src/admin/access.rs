//! Who may see and change a relay from another machine: who knows the token.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::config::Admin;

/// Shorter ones can be guessed.
const MIN_TOKEN: usize = 16;
/// No token is longer, and `/dev/zero` is.
const MAX_TOKEN: u64 = 4096;
/// How long somebody who has logged in needn't do so again.
const SESSION: Duration = Duration::from_secs(12 * 3600);
/// So many wrong tokens in [`WINDOW`], and an address is asked to wait until its end.
const MAX_FAILURES: u32 = 10;
const WINDOW: Duration = Duration::from_secs(60);
/// Addresses whose failures are remembered; beyond, the oldest are forgotten.
const MAX_ADDRESSES: usize = 1024;
/// Sessions whose end is remembered. There are no more unless somebody who knows the token makes them; beyond, those that
/// would end first are forgotten.
const MAX_ENDED: usize = 1024;

/// What is asked of clients.
#[derive(Debug)]
pub struct Access {
    /// At addresses that others can reach; `None`: anyone may.
    pub(super) token: Option<Token>,
    /// Names that this relay has, beside `localhost`.
    pub(super) hosts: Vec<String>,
    /// Whether the token is asked for on the pages for Prometheus and health checks, too.
    pub(super) protect_metrics: bool,
    /// Whether it may be profiled.
    pub(super) pprof: bool,
    failures: Mutex<Failures>,
    ended: Mutex<Ended>,
    /// Wrong tokens that aren't in the ledger yet.
    wrong: AtomicU64,
}

impl Access {
    /// As the config has it; the token is read now.
    ///
    /// # Errors
    /// In words: there is no token to be had from its file.
    pub fn read(admin: &Admin) -> Result<Access, String> {
        let token = admin.token_file.as_deref().map(|path| {
            Token::read(path)
                .map_err(|error| format!("admin.token_file: {}: {error}", path.display()))
        });
        Ok(Access::with(admin, token.transpose()?))
    }

    /// When the token can't be read, and metrics must go on: whom a token is asked of isn't let in.
    pub fn for_nobody(admin: &Admin) -> Access {
        Access::with(admin, Some(Token(None)))
    }

    fn with(admin: &Admin, token: Option<Token>) -> Access {
        // Where a listener goes that others could reach, it is served until the successor has proven itself.
        let nobody = || (!admin.allow_anyone).then_some(Token(None));
        Access {
            token: token.or_else(nobody),
            hosts: admin.hosts.clone(),
            protect_metrics: admin.protect_metrics,
            pprof: admin.pprof,
            failures: Mutex::default(),
            ended: Mutex::default(),
            wrong: AtomicU64::new(0),
        }
    }

    /// How long this address is asked to wait, after too many wrong tokens. Asked before a token is compared: if the right one
    /// were let in meanwhile, whoever guesses could go on, and would know it by being let in. Cookies are none to be guessed.
    pub(super) fn must_wait(&self, from: IpAddr, now: Instant) -> Option<Duration> {
        self.failures().must_wait(from, now)
    }

    /// Notes a wrong token.
    pub(super) fn failed(&self, from: IpAddr, now: Instant) {
        self.wrong.fetch_add(1, Ordering::Relaxed);
        self.failures().note(from, now);
    }

    /// Ends a session that goes on. `now` is in seconds since 1970.
    pub(super) fn end_session(&self, value: &str, now: u64) {
        self.ended().note([Ended::entry(value)], now);
    }

    /// Whether a session was ended before its time.
    pub(super) fn has_ended(&self, value: &str) -> bool {
        self.ended().0.contains(&Ended::entry(value))
    }

    /// The sessions that were ended before their time, for the next worker: when they would have ended, and their names.
    pub fn ended_sessions(&self) -> Vec<(u64, String)> {
        self.ended().0.iter().cloned().collect()
    }

    /// Takes over what the predecessor had.
    pub fn end_sessions(&self, ended: Vec<(u64, String)>, now: u64) {
        self.ended().note(ended, now);
    }

    fn ended(&self) -> std::sync::MutexGuard<'_, Ended> {
        self.ended.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// How many wrong tokens there were since this was asked last.
    pub fn take_wrong(&self) -> u64 {
        self.wrong.swap(0, Ordering::Relaxed)
    }

    fn failures(&self) -> std::sync::MutexGuard<'_, Failures> {
        self.failures.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// The secret. All that is made of it is made with it as the key, so that comparing tells nothing of it by the time it
/// takes.
pub(super) struct Token(Option<Vec<u8>>);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

impl Token {
    /// The first line of a file that its owner alone can read.
    fn read(path: &Path) -> io::Result<Token> {
        let file = File::open(path)?;
        let meta = file.metadata()?;
        let wrong = |message: String| Err(io::Error::other(message));
        if !meta.is_file() {
            return wrong("expected a file".to_owned());
        }
        let credentials = std::env::var_os("CREDENTIALS_DIRECTORY");
        if !is_private(path, meta.mode(), credentials.as_deref().map(Path::new)) {
            return wrong(format!(
                "expected a file that its owner alone may read (chmod 600), found mode {:03o}",
                meta.mode() & 0o777
            ));
        }
        let mut bytes = Vec::new();
        file.take(MAX_TOKEN + 1).read_to_end(&mut bytes)?;
        let line = bytes
            .split(|byte| *byte == b'\n')
            .next()
            .unwrap_or_default();
        let token = line.trim_ascii();
        if !(MIN_TOKEN..=MAX_TOKEN as usize).contains(&token.len()) {
            return wrong(format!(
                "expected a token of {MIN_TOKEN} to {MAX_TOKEN} bytes in its first line, found {} bytes",
                token.len()
            ));
        }
        Ok(Token(Some(token.to_vec())))
    }

    fn mac(&self, purpose: &str, of: &[u8]) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.as_deref()?).ok()?;
        mac.update(purpose.as_bytes());
        mac.update(of);
        Some(mac)
    }

    /// Whether this is it.
    pub(super) fn is(&self, given: &[u8]) -> bool {
        let of = |token: &[u8]| Some(self.mac("token ", token)?.finalize());
        // The comparison of two of them takes the same time wherever they differ.
        self.0
            .as_deref()
            .is_some_and(|own| of(own).is_some() && of(own) == of(given))
    }

    /// The name of the cookie: relays with tokens of their own don't take each other's place in a browser.
    pub(super) fn cookie(&self) -> String {
        let mac = self
            .mac("cookie", b"")
            .map(|mac| mac.finalize().into_bytes());
        let mac = mac.unwrap_or_default();
        format!("baton_{}", hex(&mac[..4]))
    }

    /// The cookie's value for somebody who logs in now, and how long it holds: `EXPIRES-NUMBER.MAC`. Every worker with the
    /// same token takes it, so that nobody logs in anew for a restart. The number is another for each, so that one who logs
    /// out is the only one.
    pub(super) fn session(&self, now: u64) -> Option<(String, Duration)> {
        let expires = now.checked_add(SESSION.as_secs())?;
        let of = format!("{expires}-{}", RandomState::new().hash_one(expires));
        let mac = self.mac("session ", of.as_bytes())?.finalize();
        Some((format!("{of}.{}", hex(&mac.into_bytes())), SESSION))
    }

    /// Whether a cookie's value is of a session that goes on. `now` is in seconds since 1970.
    pub(super) fn is_session(&self, value: &str, now: u64) -> bool {
        let Some((of, mac)) = value.split_once('.') else {
            return false;
        };
        let (Some(until), Some(given)) = (expires(of), unhex(mac)) else {
            return false;
        };
        let own = self.mac("session ", of.as_bytes());
        own.is_some_and(|own| own.verify_slice(&given).is_ok()) && now < until
    }
}

/// When a session ends.
fn expires(of: &str) -> Option<u64> {
    let digits = of.split(['-', '.']).next()?;
    digits.parse().ok()
}

/// Sessions that were ended before their time, until that.
#[derive(Debug, Default)]
struct Ended(BTreeSet<(u64, String)>);

impl Ended {
    /// The value may be written in capitals, and is the same.
    fn entry(value: &str) -> (u64, String) {
        (expires(value).unwrap_or(0), value.to_ascii_lowercase())
    }

    fn note(&mut self, ended: impl IntoIterator<Item = (u64, String)>, now: u64) {
        self.0.extend(ended);
        self.0.retain(|(until, _)| *until > now);
        while self.0.len() > MAX_ENDED {
            self.0.pop_first();
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pairs = text.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => Some((digit(*high)? * 16 + digit(*low)?) as u8),
        _ => None,
    });
    pairs.collect()
}

/// Wrong tokens, by where they came from.
#[derive(Debug, Default)]
struct Failures(HashMap<IpAddr, (u32, Instant)>);

impl Failures {
    fn must_wait(&self, from: IpAddr, now: Instant) -> Option<Duration> {
        let (count, since) = self.0.get(&network(from))?;
        let left = (*since + WINDOW).checked_duration_since(now)?;
        (*count >= MAX_FAILURES && !left.is_zero()).then_some(left)
    }

    fn note(&mut self, from: IpAddr, now: Instant) {
        self.0.retain(|_, (_, since)| now < *since + WINDOW);
        let network = network(from);
        if self.0.len() >= MAX_ADDRESSES && !self.0.contains_key(&network) {
            let oldest = self.0.iter().min_by_key(|(_, (_, since))| *since);
            if let Some(oldest) = oldest.map(|(address, _)| *address) {
                self.0.remove(&oldest);
            }
        }
        let (count, _) = self.0.entry(network).or_insert((0, now));
        *count = count.saturating_add(1);
    }
}

/// Who has an IPv6 address has the 2⁶⁴ beside it. A socket for both shows IPv4 as IPv6 (RFC 4291, 2.5.5.2): all of it would be
/// one network.
fn network(of: IpAddr) -> IpAddr {
    match of.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6((u128::from(ip) >> 64 << 64).into()),
        v4 => v4,
    }
}

/// Whether its owner alone can read a file. What systemd passes (LoadCredential=) lies in a folder that only the service
/// enters; there a service that isn't the file's owner is let in by an ACL, whose mask looks like the group's mode.
fn is_private(path: &Path, mode: u32, credentials: Option<&Path>) -> bool {
    let others = match credentials {
        Some(folder) if path.starts_with(folder) => 0o007,
        _ => 0o077,
    };
    mode & others == 0
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn token(text: &str) -> Token {
        Token(Some(text.as_bytes().to_vec()))
    }

    #[test]
    fn a_credential_of_systemd_is_private_though_its_group_may_seem_to_read_it() {
        let folder = Path::new("/run/credentials/baton.service");
        let token = folder.join("token");
        assert!(is_private(&token, 0o100_440, Some(folder)));
        assert!(!is_private(&token, 0o100_444, Some(folder)));
        assert!(!is_private(&token, 0o100_440, None));
        assert!(!is_private(
            Path::new("/etc/token"),
            0o100_440,
            Some(folder)
        ));
    }

    #[test]
    fn a_token_is_the_first_line_of_a_file_of_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let read = |text: &str, mode| {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            Token::read(&path).map_err(|error| error.to_string())
        };
        let read_token = read("0123456789abcdef\nmore\n", 0o600).unwrap();
        assert!(read_token.is(b"0123456789abcdef"));
        for wrong in [
            "",
            "0123456789abcde",
            "0123456789abcdef\n",
            "0123456789abcdeF",
        ] {
            assert!(!read_token.is(wrong.as_bytes()), "{wrong:?}");
        }
        for (text, mode, said) in [
            (
                "0123456789abcde\n",
                0o600,
                "16 to 4096 bytes in its first line, found 15",
            ),
            ("\n0123456789abcdef", 0o600, "found 0 bytes"),
            (
                "0123456789abcdef",
                0o640,
                "its owner alone may read (chmod 600), found mode 640",
            ),
            ("0123456789abcdef", 0o604, "found mode 604"),
        ] {
            let error = read(text, mode).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
        assert!(Token::read(folder.path()).is_err());
        assert!(Token::read(&folder.path().join("none")).is_err());
    }

    #[test]
    fn a_session_ends_by_time_or_with_its_token() {
        let own = token("0123456789abcdef");
        let (value, holds) = own.session(1000).unwrap();
        assert!(own.is_session(&value, 1000));
        assert!(own.is_session(&value, 1000 + holds.as_secs() - 1));
        assert!(!own.is_session(&value, 1000 + holds.as_secs()));
        assert!(
            token("0123456789abcdef").is_session(&value, 1000),
            "another worker"
        );
        assert!(!token("0123456789abcdeX").is_session(&value, 1000));
        let (_, mac) = value.split_once('.').unwrap();
        for forged in [
            format!("99999999999.{mac}"),
            "1.".into(),
            format!("{value}0"),
            String::new(),
        ] {
            assert!(!own.is_session(&forged, 1000), "{forged}");
        }
    }

    #[test]
    fn sessions_are_each_their_own_and_end_once() {
        let own = token("0123456789abcdef");
        let [(one, _), (other, _)] = [(); 2].map(|()| own.session(1000).unwrap());
        assert_ne!(one, other);
        let mut ended = Ended::default();
        ended.note([Ended::entry(&one)], 1000);
        let has = |ended: &Ended, value: &str| ended.0.contains(&Ended::entry(value));
        assert!(has(&ended, &one) && !has(&ended, &other));
        let capitals = one.to_ascii_uppercase();
        assert!(own.is_session(&capitals, 1000) && has(&ended, &capitals));
        // What is over anyhow needn't be remembered, and there are only so many.
        ended.note(
            (0..2 * MAX_ENDED as u64).map(|n| (50_000 + n, n.to_string())),
            50_000,
        );
        assert_eq!(ended.0.len(), MAX_ENDED);
        assert!(!has(&ended, &one));
    }

    #[test]
    fn without_a_token_nobody_is_let_in() {
        let nobody = Token(None);
        assert!(!nobody.is(b"") && nobody.session(1).is_none() && !nobody.is_session("2.", 1));
    }

    #[test]
    fn too_many_failures_of_a_network_make_it_wait() {
        let mut failures = Failures::default();
        let start = Instant::now();
        let from: IpAddr = "2001:db8::1".parse().unwrap();
        let beside: IpAddr = "2001:db8::ffff:2".parse().unwrap();
        let other: IpAddr = "2001:db8:0:1::1".parse().unwrap();
        for _ in 0..MAX_FAILURES {
            assert_eq!(failures.must_wait(from, start), None);
            failures.note(from, start);
        }
        assert_eq!(failures.must_wait(beside, start), Some(WINDOW));
        assert_eq!(failures.must_wait(other, start), None);
        assert_eq!(failures.must_wait(from, start + WINDOW), None);
        let one: IpAddr = "::ffff:10.0.0.1".parse().unwrap();
        for _ in 0..MAX_FAILURES {
            failures.note(one, start);
        }
        let waits = |from: &str| failures.must_wait(from.parse().unwrap(), start).is_some();
        assert!(waits("::ffff:10.0.0.1") && waits("10.0.0.1"));
        assert!(!waits("::ffff:10.0.0.2") && !waits("10.0.0.2"));
        for n in 0..2 * MAX_ADDRESSES as u32 {
            failures.note(IpAddr::V4(n.into()), start + Duration::from_secs(1));
        }
        assert_eq!(failures.0.len(), MAX_ADDRESSES);
    }
}
