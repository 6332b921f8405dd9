//! A receipt and the next channel, at the same moment: a mail leaves only if the receipt had not been
//! stored when the mail was claimed.

use herald::store::channel_fallback;
use serde_json::{Value, json};

use crate::harness::{
    Database,
    email::{Stage, order, stage_with},
    status, value,
};

crate::tests![a_receipt_before_the_claim_stops_the_mail];

/// Messages of one round, which are all in flight at once.
const ROUND: usize = 50;

/// Rounds for each database, unless `HERALD_RACE_ROUNDS` says otherwise: 200 make 10,000 races.
const ROUNDS: usize = 10;

/// Notes, when a message that stands in for another is claimed, whether that had arrived by then.
async fn watch_claims(stage: &Stage) {
    let mask = channel_fallback::arrived().mask();
    let id = if stage.app.store.is_sqlite() {
        "blob"
    } else {
        "uuid"
    };
    stage
        .app
        .sql(&format!(
            "CREATE TABLE race_log (child {id} NOT NULL, arrived bigint NOT NULL)"
        ))
        .await;
    let noted = format!(
        "INSERT INTO race_log SELECT NEW.id, p.triggered & {mask} FROM notification p WHERE p.id = NEW.parent_id;"
    );
    let is_claim = "NEW.rule = 'channel_fallback' AND NEW.engine_state = 'sending' AND OLD.engine_state <> 'sending'";
    if stage.app.store.is_sqlite() {
        stage
            .app
            .sql(&format!(
                "CREATE TRIGGER race AFTER UPDATE ON notification WHEN {is_claim} BEGIN {noted} END"
            ))
            .await;
    } else {
        stage.app.sql(&format!("CREATE FUNCTION note_race() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {noted} RETURN NULL; END $$")).await;
        stage.app.sql(&format!("CREATE TRIGGER race AFTER UPDATE ON notification FOR EACH ROW WHEN ({is_claim}) EXECUTE FUNCTION note_race()")).await;
    }
}

/// Messages that WhatsApp has accepted, with a receipt for each.
async fn accepted(stage: &Stage) -> Vec<Value> {
    let mut ids = Vec::with_capacity(ROUND);
    for _ in 0..ROUND {
        let mut body = order("contact:asha", &["whatsapp", "email"]);
        body["fallback_after_seconds"] = json!(60);
        ids.push(stage.ask(&body).await);
    }
    stage.app.send().await;
    let mut receipts = Vec::with_capacity(ROUND);
    for id in &ids {
        let shown = stage.app.notification(id).await;
        let attempt = &shown["attempts"][0];
        let our_id = format!("{}.{id}", attempt["id"].as_str().unwrap());
        let message = attempt["provider_message_id"].as_str().unwrap();
        let at = stage.app.now().unix_seconds();
        let mut receipt = status(message, Some(&our_id), "delivered", at, None);
        receipt["recipient_id"] = json!("12025550101");
        receipts.push(receipt);
    }
    receipts
}

async fn a_receipt_before_the_claim_stops_the_mail(database: Database) {
    let settings = [
        ("HERALD_PAIR_SECONDS", "0"),
        ("HERALD_SEND_PER_SECOND", "0"),
        ("HERALD_SEND_SLOTS", "5"),
    ];
    let stage = stage_with(&database, &settings).await;
    watch_claims(&stage).await;
    let asked = std::env::var("HERALD_RACE_ROUNDS").ok();
    let rounds = asked.map_or(ROUNDS, |text| text.parse().unwrap());
    for round in 0..rounds {
        let receipts = accepted(&stage).await;
        stage.app.pass(60);
        stage.fall_back().await;
        for (turn, some) in receipts.chunks(5).enumerate() {
            // Stored before the race, which is between its being applied and the claim.
            let body = value(json!({ "statuses": some })).to_string().into_bytes();
            assert_eq!(stage.app.callback_bytes(body).await, 200);
            let mail = async {
                for _ in 0..(round + turn) % 3 {
                    // A reading transaction, which takes about as long as one of the other side.
                    stage.app.number("SELECT count(*) FROM race_log").await;
                }
                stage.mail_batch().await
            };
            tokio::join!(stage.app.process(), mail);
        }
        stage.mail_out().await;
    }
    let races = i64::try_from(rounds * ROUND).unwrap();
    let delivered = "SELECT count(*) FROM notification WHERE rule IS NULL AND status = 'delivered'";
    assert_eq!(stage.app.number(delivered).await, races);
    let early = "SELECT count(*) FROM race_log r JOIN notification n ON n.id = r.child WHERE n.status = 'accepted' AND r.arrived <> 0";
    assert_eq!(
        stage.app.number(early).await,
        0,
        "a mail left after its receipt"
    );
    let both = stage.app.number("SELECT count(*) FROM notification WHERE rule = 'channel_fallback' AND status = 'accepted'").await;
    assert_eq!(
        i64::try_from(stage.mail.taken().len()).unwrap(),
        both,
        "each mail is of a message of its own"
    );
    let open =
        "SELECT count(*) FROM notification WHERE open_status IS NOT NULL AND status <> 'accepted'";
    assert_eq!(stage.app.number(open).await, 0);
    println!("{races} races: {both} mails, {} stopped", races - both);
    assert!(
        both > races / 50 && races - both > races / 50,
        "{both} of {races}"
    );
}
