"""pywa on FastAPI, as its documentation sets it up: pywa answers, and calls the handler afterwards."""

from fastapi import FastAPI
from pywa_async import WhatsApp, types

from notifications import APP_SECRET, PATH, apply, pool_of

app = FastAPI(lifespan=pool_of)
whatsapp = WhatsApp(
    phone_id="106540352242922",
    token="token-of-no-value",
    server=app,
    webhook_endpoint=PATH,
    verify_token="word-of-no-value",
    app_secret=APP_SECRET,
)


@whatsapp.on_message_status
async def receive(_: WhatsApp, status: types.MessageStatus) -> None:
    await apply(app.state.pool, status.id, status.status.value)
