//! The settings, as people see them.

/// A setting as people see it.
#[derive(Debug)]
pub struct Setting {
    pub name: &'static str,
    /// An older or shorter name that means the same.
    pub alias: Option<&'static str>,
    pub default: Option<&'static str>,
    pub secret: bool,
    pub meaning: &'static str,
}

const fn setting(
    name: &'static str,
    default: Option<&'static str>,
    meaning: &'static str,
) -> Setting {
    Setting {
        name,
        alias: None,
        default,
        secret: false,
        meaning,
    }
}

/// All of them, in the order of the documentation.
pub const SETTINGS: &[Setting] = &[
    setting(
        "HERALD_LISTEN",
        Some("127.0.0.1:8080"),
        "Address and port to listen on.",
    ),
    setting(
        "HERALD_PUBLIC_URL",
        None,
        "How people and Meta reach this server, such as https://herald.example.org: for links, and for `herald check`. With https, the cookies of the pages are sent over nothing else.",
    ),
    setting(
        "HERALD_DATA_DIR",
        Some("./data"),
        "Where the embedded database and the key of `herald dev` live.",
    ),
    Setting {
        secret: true,
        ..setting(
            "DATABASE_URL",
            None,
            "postgres://… or sqlite:PATH. Several PostgreSQL servers of one database: postgres://one:5432,two:5432/herald?target_session_attrs=read-write. Default: a SQLite file in HERALD_DATA_DIR.",
        )
    },
    setting(
        "HERALD_DATABASE_CONNECTIONS",
        Some("10"),
        "Connections to PostgreSQL, at most.",
    ),
    setting(
        "HERALD_DATABASE_POOLED",
        Some("false"),
        "`true` when DATABASE_URL leads to PgBouncer in transaction mode, or a pooler like it.",
    ),
    setting(
        "HERALD_DATABASE_TIMEOUT_SECONDS",
        Some("10"),
        "No statement on PostgreSQL may take longer. A server that is silent for two seconds more is taken to be gone.",
    ),
    Setting {
        secret: true,
        ..setting(
            "HERALD_SECRET_KEY",
            None,
            "32 random bytes as 64 hex digits: encrypts what is secret at rest. Needed by `serve`.",
        )
    },
    Setting {
        secret: true,
        ..setting(
            "HERALD_SECRET_KEY_PREVIOUS",
            None,
            "The key used until now, while it is being replaced: what it encrypted is encrypted anew at the start.",
        )
    },
    Setting {
        secret: true,
        ..setting(
            "HERALD_STATE_MARK",
            None,
            "A file on another disk, or postgres://… of a second database: keeps a mark of how far this installation has come, so that a database that was restored holds sending by itself.",
        )
    },
    setting(
        "WHATSAPP_ENABLED",
        Some("true"),
        "`false` holds every message; accepting goes on.",
    ),
    Setting {
        alias: Some("WHATSAPP_PHONE_ID"),
        ..setting(
            "WHATSAPP_PHONE_NUMBER_ID",
            None,
            "Meta's id of the sending number. Needed for sending.",
        )
    },
    Setting {
        alias: Some("WABA_ID"),
        ..setting(
            "WHATSAPP_WABA_ID",
            None,
            "Meta's id of the business account. Needed for templates, and by `herald check` to look at the subscription.",
        )
    },
    Setting {
        alias: Some("WHATSAPP_TOKEN"),
        secret: true,
        ..setting(
            "WHATSAPP_ACCESS_TOKEN",
            None,
            "Access token with whatsapp_business_messaging. Needed for sending.",
        )
    },
    Setting {
        secret: true,
        ..setting(
            "WHATSAPP_APP_SECRET",
            None,
            "Secret of the subscribed Meta app; several, separated by commas, while rotating. Needed for callbacks.",
        )
    },
    Setting {
        secret: true,
        ..setting(
            "WHATSAPP_WEBHOOK_VERIFY_TOKEN",
            None,
            "The token typed into Meta's webhook form. Needed to register the webhook.",
        )
    },
    setting(
        "WHATSAPP_API_VERSION",
        Some("v26.0"),
        "Version of the Graph API.",
    ),
    setting(
        "WHATSAPP_API_BASE",
        Some("https://graph.facebook.com"),
        "Where the Graph API is; a simulator's address for tests.",
    ),
    setting(
        "HERALD_SEND_SLOTS",
        Some("512"),
        "Calls to the provider at the same time, at most; a message takes its place up to 0.3 seconds before its call.",
    ),
    setting(
        "HERALD_SEND_PER_SECOND",
        None,
        "Messages per second and number; 0 means unlimited. Default: what Meta reports for the number, 80 until it has. A sender's own limit goes first.",
    ),
    setting(
        "HERALD_PAIR_SECONDS",
        Some("6"),
        "One person gets one message in so many seconds from one number (Meta's limit); 0 means unlimited.",
    ),
    setting(
        "HERALD_PAIR_BURST",
        Some("45"),
        "So many messages to one person may go at once, borrowed from the time to come.",
    ),
    setting(
        "HERALD_SEND_TRIES",
        Some("3"),
        "Attempts that may fail for a reason of the message.",
    ),
    setting(
        "HERALD_SEND_RETRY_SECONDS",
        Some("30"),
        "Delay before the second attempt; it doubles each time.",
    ),
    setting(
        "HERALD_SEND_TIMEOUT_SECONDS",
        Some("10"),
        "A call without an answer is unknown after this.",
    ),
    setting(
        "HERALD_SEND_CONNECT_SECONDS",
        Some("3"),
        "A connection that is not made by then is not made.",
    ),
    setting(
        "HERALD_LEASE_SECONDS",
        Some("60"),
        "After this another process takes over what a dead one was doing.",
    ),
    setting(
        "HERALD_UNKNOWN_AFTER_SECONDS",
        Some("900"),
        "How long a callback may resolve a lost answer before the policy decides.",
    ),
    setting(
        "HERALD_UNKNOWN_POLICY",
        Some("give_up"),
        "`give_up`: may be lost, visibly. `resend`: may arrive twice. By category: `give_up, utility=resend`.",
    ),
    setting(
        "HERALD_STALE_AFTER_SECONDS",
        Some("1800"),
        "Accepted and nothing heard for this long is stale.",
    ),
    setting(
        "HERALD_SETTLE_AFTER_FAILED_SECONDS",
        Some("60"),
        "Wait before a retry after a `failed` callback; it doubles each time, to a day; -1 turns such retries off.",
    ),
    setting(
        "HERALD_EXPIRES_AFTER_SECONDS",
        Some("86400"),
        "What has waited longer is not sent any more, unless its route says otherwise.",
    ),
    setting(
        "HERALD_AUTHENTICATION_EXPIRES_AFTER_SECONDS",
        Some("600"),
        "The same for one-time passwords.",
    ),
    setting(
        "HERALD_PARKED_SECONDS",
        Some("86400"),
        "How long a status waits for a message that is not known yet.",
    ),
    setting(
        "HERALD_INBOX_MEGABYTES",
        Some("32"),
        "Callbacks waiting to be stored, in memory, at most.",
    ),
    setting(
        "HERALD_INBOX_WAIT_MILLISECONDS",
        Some("4000"),
        "A callback not stored by then is answered 503: Meta gives up at about 5 s.",
    ),
    setting(
        "HERALD_BACKLOG_DELAY_MILLISECONDS",
        Some("2000"),
        "When applying is over 10 s behind, answers to callbacks wait up to so long (all of it at 30 s), so that Meta sends less at a time; 0 turns it off.",
    ),
    setting(
        "HERALD_RESERVED_DISK_MEGABYTES",
        Some("512"),
        "SQLite: when applying is behind and the disk has less than this left, statuses are answered 503: the rest is for applying what waits.",
    ),
    setting(
        "HERALD_BACKLOG_MEGABYTES",
        Some("4096"),
        "PostgreSQL: the same when callbacks of so many megabytes wait to be applied.",
    ),
    setting(
        "HERALD_HTTP_WORKERS",
        Some("2"),
        "Threads that answer HTTP.",
    ),
    setting(
        "HERALD_TRUSTED_PROXIES",
        None,
        "Addresses or networks of the reverse proxies before Herald, such as 127.0.0.1, 10.0.0.0/8: their X-Forwarded-For (or Forwarded) says whose a request is. Behind a proxy that is not listed all clients share one budget.",
    ),
    setting(
        "HERALD_HTTP_CONNECTIONS",
        Some("4096"),
        "Open HTTP connections, at most; fewer where the limit of open files does not allow them beside outgoing calls and the database. When all are taken, the oldest that waits for its client ends, strangers' first.",
    ),
    setting(
        "HERALD_HTTP_CONNECTIONS_PER_ADDRESS",
        Some("256"),
        "Connections of one IPv4 address or IPv6 /64 network that has not shown a good signature or key within a day; trusted proxies have no such bound.",
    ),
    setting(
        "HERALD_HTTP_WAIT_MILLISECONDS",
        Some("5000"),
        "A connection is closed that says nothing for so long, takes longer over the head of a request, or does not read its answer.",
    ),
    setting(
        "HERALD_HTTP_BODY_WAIT_MILLISECONDS",
        Some("4000"),
        "A body that has not arrived by then, or in what the least rate allows for its bytes beyond, is answered 408.",
    ),
    setting(
        "HERALD_HTTP_LEAST_BYTES_PER_SECOND",
        Some("8192"),
        "The least rate at which a body arrives and an answer is read.",
    ),
    setting(
        "HERALD_LOG",
        Some("info"),
        "Log filter, such as `info` or `herald=debug`.",
    ),
    setting("HERALD_LOG_FORMAT", Some("text"), "`text` or `json`."),
    setting(
        "HERALD_STOP_WORDS",
        Some(
            "STOP, UNSUBSCRIBE, STOPALL, ARRET, ARRÊT, BAJA, PARAR, SAIR, CANCELAR, रोकें, बंद करें, இனி வேண்டாம், IMA, MISA",
        ),
        "Words, separated by commas, by which a person stops all messages but one-time passwords.",
    ),
    setting(
        "HERALD_START_WORDS",
        Some("START, SUBSCRIBE, UNSTOP, ALTA, VOLTAR, शुरू करें"),
        "Words by which a person wants messages again.",
    ),
    setting(
        "HERALD_WINDOW_CLOSING_MINUTES",
        Some("60"),
        "`herald.window.closing` is raised this long before a 24-hour window is closed.",
    ),
    setting(
        "HERALD_NEW_ID_DECIDED_DAYS",
        Some("30"),
        "How long an unexplained new user id at a known number is undecided. \
         Then it counts as another person's, and what either had refused holds for both.",
    ),
    setting(
        "WHATSAPP_MARK_READ",
        Some("false"),
        "`true` marks what people write as read (blue ticks).",
    ),
    setting(
        "HERALD_SILENT_AFTER_MINUTES",
        Some("30"),
        "`herald.silence` is raised when messages are accepted and no callback comes for so long.",
    ),
    setting(
        "HERALD_ALARM_FAILURE_PERCENT",
        Some("10"),
        "An alarm is raised when so many of the last hour's messages have failed (of 20 at least), and cleared at half of it.",
    ),
    setting(
        "HERALD_ALARM_STALE_PERCENT",
        Some("10"),
        "An alarm is raised when nothing was heard of so many of the messages that were accepted in the last four hours.",
    ),
    setting(
        "HERALD_ALARM_QUEUE_AGE_SECONDS",
        Some("300"),
        "An alarm is raised when a message has been due for so long: no worker runs, or the sender is too slow.",
    ),
    setting(
        "HERALD_CREDENTIAL_OLD_DAYS",
        Some("90"),
        "`herald.credential.old` is raised for a credential that has been in use for so long.",
    ),
    setting(
        "HERALD_CREDENTIAL_WARNING_DAYS",
        Some("7"),
        "`herald.credential.expiring` is raised so long before a credential expires.",
    ),
    setting(
        "ADMIN_NOTIFICATION_FALLBACK_TEMPLATE_NAME",
        Some("admin_notification_alert"),
        "For catalogues: the template that reaches staff outside their 24-hour window.",
    ),
    setting(
        "INVOICE_PROCESSED_NOTIFICATION_GROUPS",
        Some("System Admins,Sales Team"),
        "For catalogues: the groups that hear of a processed invoice.",
    ),
    setting(
        "SOLAR_CRM_SENDER",
        None,
        "For catalogues: the sender whose windows and failed free texts the CRM watches, where other products have senders of their own; all, if absent.",
    ),
    setting(
        "META_SYNC_VERSION_SUFFIX",
        None,
        "Appended to the names of templates at Meta, such as v1_02.",
    ),
    setting(
        "HERALD_KEEP_BODIES_DAYS",
        Some("14"),
        "Raw callbacks are kept so long; Meta repeats for 7 days.",
    ),
    setting(
        "HERALD_KEEP_TIMELINE_DAYS",
        Some("180"),
        "The story of each notification is kept so long.",
    ),
    setting(
        "HERALD_KEEP_NOTIFICATIONS_DAYS",
        Some("400"),
        "Notifications, events and inbound messages are kept so long; counters stay.",
    ),
];
