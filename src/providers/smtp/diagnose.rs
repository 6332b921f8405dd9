//! The mail server's half of `herald check`: whether it answers, offers TLS, and takes the password.

use async_trait::async_trait;

use super::{
    SmtpProvider,
    client::{SmtpClient, SmtpEnd},
    limits::SmtpLimits,
};
use crate::providers::{
    DiagnosisFinding, DiagnosisRequest, FindingSeverity, HttpClient, ProviderDiagnosis,
};

#[async_trait]
impl ProviderDiagnosis for SmtpProvider {
    async fn diagnose(
        &self,
        _http: &HttpClient,
        request: DiagnosisRequest<'_>,
    ) -> Vec<DiagnosisFinding> {
        let client = SmtpClient::new(request.connection.clone(), SmtpLimits::default());
        let (verdict, found, remedy) = match client.open().await {
            Ok(mut connection) => {
                connection.abort().await;
                let (verdict, found, remedy) =
                    verdict(client.is_protected(), client.is_on_this_machine());
                (verdict, found.to_owned(), remedy.to_owned())
            }
            Err(SmtpEnd::Refused(failure)) => {
                (FindingSeverity::Failed, failure.meaning, failure.remedy)
            }
            Err(SmtpEnd::Unavailable(reason)) => (
                FindingSeverity::Failed,
                format!("The mail server cannot be used: {reason}."),
                "Are host, port and the way of TLS right (smtp:// for STARTTLS, smtps:// for TLS at once), and may this machine connect to it?"
                    .to_owned(),
            ),
        };
        vec![DiagnosisFinding {
            name: "mail_server",
            verdict,
            found,
            remedy,
        }]
    }
}

/// What is said of a server that answers: verdict, finding and remedy.
const fn verdict(
    is_protected: bool,
    is_on_this_machine: bool,
) -> (FindingSeverity, &'static str, &'static str) {
    match (is_protected, is_on_this_machine) {
        (true, _) => (
            FindingSeverity::Ok,
            "The mail server answers, over TLS.",
            "",
        ),
        (false, true) => (
            FindingSeverity::Ok,
            "The mail server answers, on this machine, without TLS.",
            "",
        ),
        (false, false) => (
            FindingSeverity::Warning,
            "The mail server answers, without TLS: mails and passwords can be read on the way.",
            "Take `?tls=none` out of SMTP_URL, or set the sender's setting `tls` to `starttls` or `implicit`.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::verdict;
    use crate::providers::FindingSeverity;

    /// No server of a test is elsewhere.
    #[test]
    fn a_server_elsewhere_without_tls_is_warned_of() {
        let (severity, found, remedy) = verdict(false, false);
        assert_eq!(severity, FindingSeverity::Warning);
        assert!(found.contains("without TLS") && remedy.contains("SMTP_URL"));
        for (is_protected, is_here) in [(true, true), (true, false), (false, true)] {
            assert_eq!(verdict(is_protected, is_here).0, FindingSeverity::Ok);
        }
    }
}
