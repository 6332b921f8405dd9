//! The table of Meta's error codes (Meta, "Error codes"). The numbers are Meta's; the words are
//! ours.
//!
//! The class decides Herald's reaction (`FailureClass::action`); the first text is the meaning, the
//! second the remedy.

use crate::{
    domain::failure::FailureClass::{
        self, Account, FixRequest, MarketingLimit, NeedsTemplate, OptedOut, PaceNumber, PacePair,
        RecipientGone, Retry, Spam, TemplateDisabled, TemplatePaused, TemplateTrouble, Token,
        WaitUntil,
    },
    providers::KnownProviderError,
};

const fn row(
    code: i64,
    class: FailureClass,
    meaning: &'static str,
    remedy: &'static str,
) -> KnownProviderError {
    KnownProviderError {
        code,
        class,
        wait_seconds: None,
        meaning,
        remedy,
    }
}

const fn wait(
    code: i64,
    wait_seconds: i64,
    meaning: &'static str,
    remedy: &'static str,
) -> KnownProviderError {
    KnownProviderError {
        wait_seconds: Some(wait_seconds),
        ..row(code, WaitUntil, meaning, remedy)
    }
}

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;

const NEW_TOKEN: &str =
    "Create a new access token and set it. Test tokens are valid for 60 minutes.";
const PERMISSIONS: &str = "Grant whatsapp_business_messaging to the token's app and user.";
const NOTHING: &str = "Nothing: it is tried again.";
const WAITS: &str = "Nothing: the message waits.";
const MANAGER: &str = "Open WhatsApp Manager and follow its instructions.";
const REQUEST: &str =
    "Compare the request with the details, correct it, and send it as a new message.";
const EQUAL: &str = "Make the catalogue's template equal to the one at Meta.";
const REGISTER: &str = "Register the number with the Cloud API.";
const NOT_OURS: &str =
    "Herald does not make such calls: look for another program that uses this app.";

/// Every code that Meta documents for numbers, messages and templates, in order.
#[rustfmt::skip]
pub const CATALOGUE: &[KnownProviderError] = &[
    row(0, Token, "Token expired or revoked: Meta cannot authenticate the app's user.", NEW_TOKEN),
    row(1, Retry, "Meta had a temporary problem, or did not understand the request.", "Nothing: it is tried again. If it persists, check the request."),
    row(2, Retry, "Meta is temporarily down or overloaded.", NOTHING),
    row(3, Token, "The app lacks a capability or a permission.", PERMISSIONS),
    row(4, PaceNumber, "The app has made too many calls.", WAITS),
    row(10, Token, "The token lacks a permission, or it was removed.", PERMISSIONS),
    row(17, PaceNumber, "The token's user has made too many calls.", WAITS),
    row(32, PaceNumber, "Too many calls were made for one page or account.", WAITS),
    row(33, Account, "The sending number does not exist any more.", "Check WHATSAPP_PHONE_NUMBER_ID, or choose another number."),
    row(100, FixRequest, "The request has a parameter that Meta does not accept.", "See the details; check the phone-number id and the template's parameters."),
    row(104, Token, "Meta saw no access token.", NEW_TOKEN),
    row(190, Token, "Token expired or revoked: Meta refuses the access token.", NEW_TOKEN),
    row(368, Account, "The account is restricted or disabled for breaking a policy.", MANAGER),
    row(470, NeedsTemplate, "More than 24 hours have passed since the person last wrote (an old code).", "Send a template instead of free text."),
    row(471, Spam, "The number is restricted: too many people blocked or reported it (an old code).", "Stop marketing messages and see the quality rating in WhatsApp Manager."),
    row(480, FixRequest, "The person's identity has changed and was not confirmed (an old code).", "Confirm with the person that the number is theirs."),
    row(613, PaceNumber, "The app has made too many calls of this kind.", WAITS),
    row(1013, RecipientGone, "The number is not on WhatsApp (an old code).", "Check the number with the person, or use another channel."),
    row(1026, RecipientGone, "The person's app cannot receive this message (an old code).", "Use another channel, or simpler content."),
    row(80007, PaceNumber, "The account has made too many calls.", WAITS),
    row(130_403, RecipientGone, "Your business has blocked this person.", "Unblock the person in WhatsApp Manager, then retry."),
    row(130_429, PaceNumber, "The number sends faster than its throughput allows.", "Nothing: the message waits. Lower HERALD_SEND_PER_SECOND if it happens often."),
    row(130_472, RecipientGone, "The person is in one of Meta's experiments and gets no marketing; nothing is charged.", "Do not try again; use another channel."),
    row(130_497, RecipientGone, "The account may not send to people in this country.", "See Meta's list of restricted countries; use another channel."),
    row(131_000, Retry, "Meta failed for an unknown reason.", NOTHING),
    row(131_005, Token, "Access was denied.", PERMISSIONS),
    row(131_008, FixRequest, "The request lacks a required parameter.", REQUEST),
    row(131_009, FixRequest, "A parameter of the request has a wrong value.", REQUEST),
    row(131_016, Retry, "A service at Meta is temporarily unavailable.", NOTHING),
    row(131_021, FixRequest, "The recipient is the sending number itself.", "Send it to another number."),
    row(131_026, RecipientGone, "The message cannot be delivered: the number is not on WhatsApp, has an old version, has not accepted the terms, or has blocked you.", "Check the number with the person, or use another channel."),
    row(131_030, FixRequest, "The number is not among the test account's allowed recipients.", "Add it in the app dashboard, or use a production number."),
    row(131_031, Account, "The account is locked.", MANAGER),
    row(131_037, Account, "The display name of the sending number is not approved.", "Have the display name approved in WhatsApp Manager."),
    row(131_042, Account, "There is a problem with the payment method.", "Correct the payment method in WhatsApp Manager."),
    row(131_044, FixRequest, "There is a problem with the payment method for calls.", "Correct the payment method in WhatsApp Manager."),
    row(131_045, Account, "The sending number is not properly registered.", REGISTER),
    row(131_047, NeedsTemplate, "More than 24 hours have passed since the person last wrote.", "Send a template instead of free text."),
    row(131_048, Spam, "The number is restricted: too many people blocked or reported it.", "Stop marketing messages and see the quality rating in WhatsApp Manager."),
    row(131_049, MarketingLimit, "Meta did not deliver it: this person gets too many marketing messages.", "Do not try again today; use another channel."),
    row(131_050, OptedOut, "The person has stopped marketing messages from this business.", "Respect it."),
    row(131_051, FixRequest, "WhatsApp does not know this type of message.", REQUEST),
    row(131_052, FixRequest, "A file that the person sent could not be fetched.", "Ask the person to send it again."),
    row(131_053, FixRequest, "The file was not accepted: its type, its size or its link is wrong.", "Check that the link is public, and its type and size against Meta's limits."),
    row(131_055, FixRequest, "This number may send marketing templates only, by another interface.", "Use another number for this message."),
    row(131_056, PacePair, "Too many messages to this person in a short time.", WAITS),
    wait(131_057, MINUTE, "The account is being maintained, for instance for a higher throughput.", WAITS),
    row(131_060, FixRequest, "The content of a message is not available.", "Nothing can be done."),
    row(131_062, FixRequest, "A one-time password cannot be sent to a user id.", "Send it to the person's phone number."),
    row(131_063, FixRequest, "Marketing templates are switched off for this interface.", "Allow marketing messages on the Cloud API in WhatsApp Manager."),
    row(131_064, Account, "The account is limited for putting templates into wrong categories; Meta lifts it automatically.", "Correct the categories of the templates; see WhatsApp Manager."),
    row(132_000, FixRequest, "The number of parameters differs from the template's.", EQUAL),
    row(132_001, TemplateTrouble, "The template does not exist in this language, or is not approved.", "Check its name and its exact language code in WhatsApp Manager."),
    row(132_005, FixRequest, "The text is too long with its parameters filled in.", "Shorten the parameters or the template."),
    row(132_007, TemplateTrouble, "The template's content breaks a policy.", "Edit the template and have it approved again."),
    row(132_008, FixRequest, "A parameter has the wrong format.", EQUAL),
    row(132_012, FixRequest, "A parameter's format differs from the template's.", EQUAL),
    row(132_015, TemplatePaused, "The template is paused for low quality.", "Wait until Meta unpauses it, or edit it."),
    row(132_016, TemplateDisabled, "The template is disabled for good.", "Create a new template."),
    row(132_018, FixRequest, "A parameter of the template is not valid.", EQUAL),
    row(132_068, FixRequest, "The flow is blocked.", "Correct the flow in WhatsApp Manager."),
    wait(132_069, HOUR, "The flow may be sent ten times an hour only.", "Nothing: the message waits. Correct the flow in WhatsApp Manager."),
    row(133_000, FixRequest, "An earlier deregistration of the number has failed.", "Deregister the number again, then register it."),
    row(133_004, Retry, "A server at Meta is temporarily unavailable.", NOTHING),
    row(133_005, FixRequest, "The two-step PIN of the number is wrong.", "Set the PIN again and register the number."),
    row(133_006, FixRequest, "The number must be verified first.", "Verify the number in WhatsApp Manager."),
    row(133_008, FixRequest, "The two-step PIN was wrong too often.", "Wait as long as the details say, then register again."),
    row(133_009, FixRequest, "The two-step PIN was entered too fast.", "Wait as long as the details say, then register again."),
    row(133_010, Account, "The sending number is not registered.", REGISTER),
    wait(133_015, 5 * MINUTE, "The number was deleted a moment ago and is not ready yet.", WAITS),
    row(133_016, FixRequest, "The number was registered and deregistered too often: ten times in 72 hours.", "Wait three days."),
    row(134_011, Account, "The terms of payments are not accepted yet.", "Accept them in WhatsApp Manager."),
    row(134_100, FixRequest, "Only marketing templates may be sent by this interface.", "Use the Cloud API for this template."),
    wait(134_101, 10 * MINUTE, "The template is being made ready for marketing.", WAITS),
    row(134_102, TemplateTrouble, "The template is not available for marketing by this interface.", "Send it by the Cloud API."),
    row(135_000, FixRequest, "Meta did not understand the request and does not say why.", REQUEST),
    row(137_000, FixRequest, "The person's identity is not the one that was expected.", "Confirm with the person that the number is theirs."),
    row(138_006, FixRequest, "The person has not allowed calls.", NOT_OURS),
    row(141_002, TemplateTrouble, "The template is not approved.", "Have it approved in WhatsApp Manager."),
    row(1_752_041, FixRequest, "The business is being enrolled already.", NOT_OURS),
    row(2_388_001, FixRequest, "The number cannot be moved to this account.", MANAGER),
    row(2_388_012, FixRequest, "The number's move cannot be verified.", MANAGER),
    row(2_388_019, TemplateTrouble, "The account has as many templates as it may have.", "Delete templates that are not used."),
    row(2_388_023, TemplateTrouble, "This language of the template is being deleted; that takes four weeks.", "Use another name."),
    row(2_388_024, TemplateTrouble, "The template exists in this language already.", "Use the one that exists, or another name."),
    row(2_388_039, TemplateTrouble, "The template cannot be edited in its present state.", "Wait until it is approved, rejected or paused."),
    row(2_388_040, TemplateTrouble, "A part of the template is too long.", "Shorten it."),
    row(2_388_047, TemplateTrouble, "The template's header is not valid.", "Correct the header."),
    row(2_388_072, TemplateTrouble, "The template's body is not valid.", "Correct the body."),
    row(2_388_073, TemplateTrouble, "The template's footer is not valid.", "Correct the footer."),
    row(2_388_091, FixRequest, "The number's verification has failed.", MANAGER),
    row(2_388_093, FixRequest, "The number's verification code is wrong.", MANAGER),
    row(2_388_103, FixRequest, "The number cannot be moved while it is in this state.", MANAGER),
    row(2_388_293, TemplateTrouble, "The template has too many variables for its length.", "Use fewer variables or more words."),
    row(2_388_299, TemplateTrouble, "The template begins or ends with a variable.", "Put words before and after it."),
    wait(2_494_100, 5 * MINUTE, "The number is being maintained.", WAITS),
];

/// Ranges of codes with one meaning, for codes that the table does not list.
pub const RANGES: &[(std::ops::RangeInclusive<i64>, KnownProviderError)] = &[
    (
        200..=299,
        row(
            200,
            Token,
            "A permission is missing or was removed.",
            PERMISSIONS,
        ),
    ),
    (
        131_201..=131_215,
        row(
            131_201,
            FixRequest,
            "The group cannot be written to.",
            "See the details: the group may be gone, full or closed.",
        ),
    ),
    (
        138_000..=138_999,
        row(138_000, FixRequest, "It is about a call.", NOT_OURS),
    ),
    (
        139_000..=139_103,
        row(
            139_000,
            FixRequest,
            "It is about a flow or a blocked person.",
            "See the details.",
        ),
    ),
    (
        147_001..=147_005,
        row(147_001, FixRequest, "It is about a username.", NOT_OURS),
    ),
    (
        200_005..=200_007,
        row(
            200_005,
            FixRequest,
            "It is about statistics of templates.",
            NOT_OURS,
        ),
    ),
    (
        2_593_000..=2_593_999,
        row(
            2_593_000,
            FixRequest,
            "It is about the history of a number that is used in the app, too.",
            NOT_OURS,
        ),
    ),
];
