-- A pair of two machines: what holds for the holder's term, how the pair is set up, what it has to tell.

-- The holder's own lease, so that a standby with other settings waits long enough; for whom it
-- released; and whether a person, or too many takeovers, have stopped takeovers altogether.
ALTER TABLE leadership
  ADD COLUMN lease_ms      integer NOT NULL DEFAULT 10000,
  ADD COLUMN intended      text,
  ADD COLUMN paused_by     text,
  ADD COLUMN paused_reason text,
  ADD COLUMN paused_until  timestamptz,
  ADD COLUMN takeovers     timestamptz[] NOT NULL DEFAULT '{}';

-- What a person has set for both servers: connection type, shared folder, recipients. One row.
CREATE TABLE pair_settings (
  only_row   boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  settings   jsonb NOT NULL,
  -- AES-256-GCM of a JSON {smtpPassword?, tsigSecret?, webhookSecret?} under the deployment's key.
  secrets    bytea,
  version    bigint NOT NULL,
  changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  changed_by text NOT NULL
);

-- Each lets one machine join, once.
CREATE TABLE join_tokens (
  id         uuid PRIMARY KEY,
  -- The secret under the deployment's key: both sides encrypt with what is derived from it.
  secret     bytea NOT NULL,
  created_by text NOT NULL,
  created    timestamptz NOT NULL DEFAULT clock_timestamp(),
  expires    timestamptz NOT NULL,
  used_at    timestamptz,
  used_by    text
);

-- What is to be told to people and programs, each once: the key names the event and the recipient.
CREATE TABLE outbox (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  key        text NOT NULL UNIQUE,
  class      text NOT NULL CHECK (class IN ('self-monitoring', 'synchronization', 'takeover', 'test')),
  channel    text NOT NULL CHECK (channel IN ('mail', 'webhook')),
  recipient  text NOT NULL,
  subject    text NOT NULL,
  body       jsonb NOT NULL,
  -- sending: the recipient may have it once the message's end is sent; then it is `ending`.
  state      text NOT NULL DEFAULT 'waiting'
             CHECK (state IN ('waiting', 'sending', 'ending', 'sent', 'failed')),
  attempts   integer NOT NULL DEFAULT 0,
  not_before timestamptz NOT NULL DEFAULT clock_timestamp(),
  created    timestamptz NOT NULL DEFAULT clock_timestamp(),
  sent_at    timestamptz,
  failure    text,
  term       bigint NOT NULL
);
CREATE INDEX outbox_waiting ON outbox (not_before) WHERE state IN ('waiting', 'sending', 'ending');

-- What takes a while and is watched: a drill, an upgrade, a check of the prerequisites. Not fenced: a
-- drill goes through two terms, and both servers write what they saw of it.
CREATE TABLE operations (
  id       uuid PRIMARY KEY,
  kind     text NOT NULL CHECK (kind IN ('switchover', 'drill', 'preflight', 'upgrade')),
  by       text NOT NULL,
  started  timestamptz NOT NULL DEFAULT clock_timestamp(),
  finished timestamptz,
  -- Null while it runs.
  ok       boolean,
  -- [{at, server, text, ok}]
  steps    jsonb NOT NULL DEFAULT '[]',
  report   jsonb
);
CREATE INDEX operations_newest ON operations (started DESC);

CREATE TRIGGER fence BEFORE INSERT OR UPDATE OR DELETE ON pair_settings
  FOR EACH STATEMENT EXECUTE FUNCTION fence_check();
CREATE TRIGGER fence BEFORE INSERT OR UPDATE OR DELETE ON join_tokens
  FOR EACH STATEMENT EXECUTE FUNCTION fence_check();
CREATE TRIGGER fence BEFORE INSERT OR UPDATE OR DELETE ON outbox
  FOR EACH STATEMENT EXECUTE FUNCTION fence_check();
