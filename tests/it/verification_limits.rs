//! Any sequence of starts, resends, right and wrong codes, checks at once and hours that pass keeps to
//! the limits of verifications: a model that knows nothing but times says what each call answers.

use std::collections::BTreeMap;

use herald::engine::verification;
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use serde_json::{Value, json};

use crate::harness::{Database, TestApp};

crate::tests![any_sequence_of_calls_keeps_to_the_limits];

const MOBILE_MONEY: &str = include_str!("../../deploy/catalogues/mobile-money.toml");

const CASES: usize = 12;

/// What is promised in `docs/verifications.md`, in seconds and times.
const LIFE: i64 = 600;
const TRIES: usize = 3;
const FAILURES: usize = 10;
const FAILURES_WITHIN: i64 = 3600;
const LOCK: i64 = 600;
const SENDS: usize = 5;
const SENDS_WITHIN: i64 = 600;

#[derive(Clone, Debug)]
enum Step {
    /// For one of two numbers and one of two purposes.
    Start(usize, usize),
    /// Of one of the newest, as the others below.
    Resend(usize),
    Right(usize),
    /// So many wrong codes at once.
    Wrong(usize, usize),
    GiveUp(usize),
    Pass(i64),
    /// What is over is ended in the database.
    Sweep,
}

fn mostly_first() -> impl Strategy<Value = usize> {
    prop_oneof![4 => Just(0_usize), 1 => Just(1_usize)]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        7 => (mostly_first(), mostly_first()).prop_map(|(number, purpose)| Step::Start(number, purpose)),
        1 => (0..4_usize).prop_map(Step::Resend),
        1 => (0..4_usize).prop_map(Step::Right),
        16 => (mostly_first(), prop_oneof![3 => Just(1_usize), 1 => 2..8_usize]).prop_map(|(which, many)| Step::Wrong(which, many)),
        1 => (0..4_usize).prop_map(Step::GiveUp),
        3 => prop_oneof![1..60_i64, 60..400_i64].prop_map(Step::Pass),
        1 => Just(Step::Sweep),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Approved,
    TooMany,
    GivenUp,
}

struct Known {
    id: String,
    number: usize,
    purpose: usize,
    code: String,
    began: i64,
    wrong: usize,
    ended: Option<Ended>,
}

/// What should be, by times in seconds.
#[derive(Default)]
struct Model {
    now: i64,
    all: Vec<Known>,
    sends: BTreeMap<usize, Vec<i64>>,
    failures: BTreeMap<(usize, usize), Vec<i64>>,
}

impl Model {
    /// Counts a send, if one more fits.
    fn sends(&mut self, number: usize) -> bool {
        let now = self.now;
        let times = self.sends.entry(number).or_default();
        let recent = times.iter().filter(|at| **at > now - SENDS_WITHIN).count();
        if recent < SENDS {
            times.push(now);
        }
        recent < SENDS
    }

    fn is_pending(&self, which: usize) -> bool {
        let known = &self.all[which];
        known.ended.is_none() && self.now < known.began + LIFE
    }

    fn is_locked(&self, which: usize) -> bool {
        let known = &self.all[which];
        let times = self.failures.get(&(known.number, known.purpose));
        let times = times.map_or(&[][..], Vec::as_slice);
        times.iter().enumerate().any(|(place, at)| {
            let until_then = &times[..=place];
            let count = until_then.iter().filter(|it| **it > at - FAILURES_WITHIN);
            self.now < at + LOCK && count.count() >= FAILURES
        })
    }

    /// What a check answers.
    fn check(&mut self, which: usize, is_right: bool) -> String {
        if !self.is_pending(which) {
            return match self.all[which].ended {
                Some(Ended::Approved) => "used",
                Some(Ended::TooMany) => "too_many",
                Some(Ended::GivenUp) | None => "expired",
            }
            .to_owned();
        }
        if self.is_locked(which) {
            return "429".to_owned();
        }
        let now = self.now;
        let known = &mut self.all[which];
        if is_right {
            known.ended = Some(Ended::Approved);
            return "approved".to_owned();
        }
        known.wrong += 1;
        if known.wrong == TRIES {
            known.ended = Some(Ended::TooMany);
        }
        let subject = (known.number, known.purpose);
        let left = TRIES - known.wrong;
        self.failures.entry(subject).or_default().push(now);
        format!("wrong, {left} left")
    }
}

fn request(number: usize, purpose: usize) -> Value {
    json!({ "to": format!("+1202555010{number}"), "template": "otp_verification",
        "purpose": format!("purpose-{purpose}"), "expires_in": LIFE })
}

/// What the newest message says.
async fn newest_code(app: &TestApp) -> String {
    app.send().await;
    let request = app.meta.request(app.meta.calls() - 1);
    let code = &request["template"]["components"][0]["parameters"][0]["text"];
    code.as_str().unwrap().to_owned()
}

async fn check(app: &TestApp, id: &str, code: &str) -> String {
    let path = format!("/api/v1/verifications/{id}/check");
    let (status, answer) = app.post(&path, &json!({ "code": code })).await;
    match (status, answer["status"].as_str()) {
        (429, _) => "429".to_owned(),
        (200, Some("wrong")) => format!("wrong, {} left", answer["tries_left"]),
        (200, Some(word)) => word.to_owned(),
        _ => panic!("{status}: {answer}"),
    }
}

/// Makes a step's call and compares. Returns whether a limit of checks was met.
async fn play(app: &TestApp, model: &mut Model, step: &Step, place: &str) -> bool {
    let count = model.all.len();
    let newest = |which: usize| count - 1 - which.min(count - 1);
    let mut is_locked = false;
    match *step {
        Step::Start(number, purpose) => {
            let fits = model.sends(number);
            let (status, answer) = app
                .post("/api/v1/verifications", &request(number, purpose))
                .await;
            assert_eq!(status, if fits { 201 } else { 429 }, "{place}: {answer}");
            if fits {
                model.all.push(Known {
                    id: answer["id"].as_str().unwrap().to_owned(),
                    number,
                    purpose,
                    code: newest_code(app).await,
                    began: model.now,
                    wrong: 0,
                    ended: None,
                });
            }
        }
        Step::Pass(seconds) => {
            app.pass(seconds);
            model.now += seconds;
        }
        Step::Sweep => while verification::turn(&app.engine, app.now()).await.unwrap() > 0 {},
        _ if count == 0 => {}
        Step::Resend(which) => {
            let which = newest(which);
            // One that is over has nothing to be sent.
            if model.is_pending(which) {
                let fits = model.sends(model.all[which].number);
                let path = format!("/api/v1/verifications/{}/resend", model.all[which].id);
                let (status, answer) = app.post(&path, &json!({})).await;
                assert_eq!(status == 429, !fits, "{place}: {status}: {answer}");
                if fits {
                    assert_eq!(newest_code(app).await, model.all[which].code);
                }
            }
        }
        Step::Right(which) => {
            let which = newest(which);
            let expected = model.check(which, true);
            let known = &model.all[which];
            let answer = check(app, &known.id, &known.code).await;
            assert_eq!(answer, expected, "{place}");
            is_locked = expected == "429";
        }
        Step::Wrong(which, many) => {
            let which = newest(which);
            let mut expected: Vec<String> = (0..many).map(|_| model.check(which, false)).collect();
            let id = &model.all[which].id;
            let checks = (0..many).map(|_| check(app, id, "no-code"));
            let mut answers = futures_util::future::join_all(checks).await;
            expected.sort();
            answers.sort();
            assert_eq!(answers, expected, "{place}");
            is_locked = expected.contains(&"429".to_owned());
        }
        Step::GiveUp(which) => {
            let which = newest(which);
            if model.is_pending(which) {
                let path = format!("/api/v1/verifications/{}", model.all[which].id);
                let (status, answer) = app.request("DELETE", &path, &Value::Null).await;
                assert!((200..300).contains(&status), "{place}: {answer}");
                model.all[which].ended = Some(Ended::GivenUp);
            }
        }
    }
    is_locked
}

async fn any_sequence_of_calls_keeps_to_the_limits(database: Database) {
    let settings = [("HERALD_VERIFICATION_SENDS_PER_PREFIX", "1000")];
    let app = TestApp::spawn_with(&database, &settings, "").await;
    app.apply_catalogue(MOBILE_MONEY).await;
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[23; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let strategy = prop::collection::vec(step(), 40..90);
    let (mut locks, mut limited) = (0, 0);
    for case in 0..CASES {
        let steps = strategy.new_tree(&mut runner).unwrap().current();
        let mut model = Model::default();
        for (place, step) in steps.iter().enumerate() {
            let before = model.sends.values().map(Vec::len).sum::<usize>();
            let place = format!("case {case}, step {place} of {steps:?}");
            locks += usize::from(play(&app, &mut model, step, &place).await);
            let after = model.sends.values().map(Vec::len).sum::<usize>();
            limited += usize::from(matches!(step, Step::Start(..)) && before == after);
        }
        for times in model.failures.values() {
            for at in times {
                let hour = times
                    .iter()
                    .filter(|it| (*at - FAILURES_WITHIN..=*at).contains(it));
                // Ten, and one more after each lock.
                assert!(hour.count() <= FAILURES + 6);
            }
        }
        // Nothing of this counts for the next one.
        app.pass(2 * FAILURES_WITHIN);
    }
    assert!(
        locks > CASES && limited > CASES,
        "{locks} calls met a lock, {limited} a limit of sends"
    );
}
