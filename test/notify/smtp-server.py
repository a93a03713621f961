"""A mail server (aiosmtpd) that says on standard output, a JSON line each, what it has taken.

Argument: a JSON {"port", "host"?, "certificate"?, "key"?, "implicitTls"?, "user"?, "password"?}. Recipients
that begin with "unknown" are refused for good, those that begin with "greylisted" for now, and
contents with the word "refuse-this-content" for good.
"""
import asyncio, json, ssl, sys
from email import message_from_bytes
from aiosmtpd.smtp import SMTP, AuthResult

settings = json.loads(sys.argv[1])

def say(**what):
    print(json.dumps(what), flush=True)

class Taker:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("unknown"):
            return "550 5.1.1 no such user here"
        if address.startswith("greylisted"):
            return "451 4.7.1 try again later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        if b"refuse-this-content" in envelope.content:
            return "554 5.7.1 contents refused"
        mail = message_from_bytes(envelope.content)
        parts = {p.get_content_type(): p.get_payload(decode=True).decode() for p in mail.walk() if not p.is_multipart()}
        say(took=dict(
            id=mail["Message-ID"], to=envelope.rcpt_tos, mailFrom=envelope.mail_from,
            headers={name: str(value) for name, value in mail.items()}, parts=parts,
            tls=session.ssl is not None or bool(settings.get("implicitTls")),
            user=(session.auth_data or b"").decode() if session.authenticated else None))
        return "250 OK, taken"

def authenticate(server, session, envelope, mechanism, data):
    if (data.login.decode(), data.password.decode()) == (settings["user"], settings["password"]):
        return AuthResult(success=True, auth_data=data.login)
    return AuthResult(success=False, handled=False)

async def main():
    context = None
    if settings.get("certificate"):
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(settings["certificate"], settings["key"])
    needs_auth = bool(settings.get("user"))
    implicit = bool(settings.get("implicitTls"))
    def smtp():
        return SMTP(
            Taker(), hostname="mail.test", tls_context=None if implicit else context,
            require_starttls=False, auth_required=needs_auth,
            auth_require_tls=not implicit and context is not None,
            authenticator=authenticate if needs_auth else None)
    server = await asyncio.get_running_loop().create_server(
        smtp, settings.get("host", "127.0.0.1"), settings["port"], ssl=context if implicit else None)
    say(listening=server.sockets[0].getsockname()[1])
    await server.serve_forever()

asyncio.run(main())
