//! E-mail by SMTP (RFC 5321), one recipient and one connection for each mail.
//!
//! A mail server's 250 after the last line means that it has taken the mail, and no more. If that
//! reply is lost, what became of it is not known: SMTP has no way to ask. Bounces come later, as
//! mails of their own: [`bounce`] reads them.

pub mod bounce;
mod client;
mod diagnose;
mod letter;
mod limits;
mod provider;
mod replies;
mod sender_fields;
mod tls;

pub use provider::SmtpProvider;
