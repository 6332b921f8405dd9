//! The simulated people of the fictional 555-01xx range, and their behaviour.

/// The behaviour of a person's phone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SandboxPhoneBehaviour {
    /// Sent, delivered, read.
    Reads,
    /// A `failed` callback with this code.
    Fails(i64),
    /// The call itself is refused with this HTTP status and code.
    Refuses(u16, i64),
    /// The first call is refused this way; later ones are accepted.
    RefusesFirst(u16, i64),
    /// HTTP 500 without a body; nothing was accepted.
    BreaksDown,
    /// Sent and delivered, never read.
    NeverReads,
    /// Sent, never delivered.
    SwitchedOff,
    /// Reads, then writes back.
    Replies,
    /// Reads, then taps a button.
    Taps,
    /// Accepted, but the answer is lost; callbacks come.
    LosesAnswer,
    /// Accepted, the answer is lost, and no callback ever comes.
    Vanishes,
    /// Every callback twice, newest first.
    Confuses,
    /// Fails, and is delivered after all.
    FailsThenArrives,
    /// Reads and writes back, with a username and without a number.
    HidesNumber,
    /// Reads, writes back under a new user id, and only then is the change reported.
    ChangesId,
    /// Reads, and reacts with a thumb.
    Reacts,
    /// Reads, calls, and leaves a voicemail under the id of the call.
    LeavesVoicemail,
}

/// The last two digits of a 555-01xx number, and their behaviour.
pub const BEHAVIOURS: &[(u8, SandboxPhoneBehaviour, &str)] = &[
    (
        10,
        SandboxPhoneBehaviour::Fails(131_026),
        "fails with 131026: not on WhatsApp",
    ),
    (
        11,
        SandboxPhoneBehaviour::Fails(131_047),
        "fails with 131047: window closed",
    ),
    (
        12,
        SandboxPhoneBehaviour::Fails(131_049),
        "fails with 131049: too many marketing messages",
    ),
    (
        13,
        SandboxPhoneBehaviour::Fails(131_000),
        "fails with 131000: Meta does not know why",
    ),
    (
        14,
        SandboxPhoneBehaviour::Refuses(401, 190),
        "refused with 190: token expired",
    ),
    (
        15,
        SandboxPhoneBehaviour::RefusesFirst(429, 130_429),
        "refused with 130429 the first time: too fast",
    ),
    (
        16,
        SandboxPhoneBehaviour::BreaksDown,
        "HTTP 500 without a body",
    ),
    (
        17,
        SandboxPhoneBehaviour::Refuses(404, 132_001),
        "refused with 132001: no such template",
    ),
    (
        18,
        SandboxPhoneBehaviour::RefusesFirst(500, 131_016),
        "refused with 131016 the first time: unavailable",
    ),
    (
        20,
        SandboxPhoneBehaviour::NeverReads,
        "delivered, never read",
    ),
    (
        21,
        SandboxPhoneBehaviour::SwitchedOff,
        "sent, never delivered",
    ),
    (30, SandboxPhoneBehaviour::Replies, "reads and writes back"),
    (31, SandboxPhoneBehaviour::Taps, "reads and taps a button"),
    (
        40,
        SandboxPhoneBehaviour::LosesAnswer,
        "the HTTP answer is lost after accepting",
    ),
    (
        41,
        SandboxPhoneBehaviour::Vanishes,
        "the HTTP answer is lost and no callback ever comes",
    ),
    (
        50,
        SandboxPhoneBehaviour::Confuses,
        "every callback twice, newest first",
    ),
    (
        51,
        SandboxPhoneBehaviour::FailsThenArrives,
        "fails, and is delivered after all",
    ),
    (
        60,
        SandboxPhoneBehaviour::HidesNumber,
        "has a username, hides the number, and writes back",
    ),
    (
        61,
        SandboxPhoneBehaviour::ChangesId,
        "writes back under a new user id, which is reported later",
    ),
    (
        62,
        SandboxPhoneBehaviour::Reacts,
        "reads and reacts with a thumb",
    ),
    (
        63,
        SandboxPhoneBehaviour::LeavesVoicemail,
        "reads, calls, and leaves a voicemail",
    ),
];

/// The behaviour of a number. Numbers outside 555-01xx read.
pub fn behaviour(to: &str) -> SandboxPhoneBehaviour {
    let Some((_, last)) = to.rsplit_once("55501") else {
        return SandboxPhoneBehaviour::Reads;
    };
    let Ok(number) = last.parse::<u8>() else {
        return SandboxPhoneBehaviour::Reads;
    };
    if last.len() != 2 {
        return SandboxPhoneBehaviour::Reads;
    }
    BEHAVIOURS
        .iter()
        .find(|(digits, _, _)| *digits == number)
        .map_or(SandboxPhoneBehaviour::Reads, |(_, behaviour, _)| *behaviour)
}
