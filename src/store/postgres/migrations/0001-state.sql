-- The state of a deployment. Telemetry is not here.
-- Tables whose rows are an active's work carry the trigger `fence_check`: no transaction may touch
-- them that has not shown the current term to `fence()` first.

-- Leadership: one row; changes only at a takeover or a release, so that FOR SHARE costs nothing.
CREATE TABLE leadership (
  only_row    boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  term        bigint NOT NULL DEFAULT 0,
  holder      text,
  incarnation uuid,
  since       timestamptz NOT NULL DEFAULT clock_timestamp(),
  reason      text NOT NULL DEFAULT 'nobody has been active yet',
  released    boolean NOT NULL DEFAULT true
);
INSERT INTO leadership DEFAULT VALUES;

-- The heartbeat: apart from leadership, because it changes each second.
CREATE TABLE heartbeat (
  only_row    boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  term        bigint NOT NULL DEFAULT 0,
  incarnation uuid,
  counter     bigint NOT NULL DEFAULT 0,
  beaten_at   timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 10);
INSERT INTO heartbeat DEFAULT VALUES;

CREATE TABLE servers (
  name        text PRIMARY KEY,
  installed   text NOT NULL CHECK (installed IN ('primary', 'secondary')),
  incarnation uuid NOT NULL,
  version     text NOT NULL,
  console_url text NOT NULL,
  link_host   text NOT NULL,
  link_port   integer NOT NULL,
  started_at  timestamptz NOT NULL,
  seen_at     timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Who became what, when and why; appended by whoever changes its role, also by one that loses it.
CREATE TABLE role_changes (
  id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at       timestamptz NOT NULL DEFAULT clock_timestamp(),
  server   text NOT NULL,
  role     text NOT NULL CHECK (role IN ('active', 'standby', 'stopped')),
  term     bigint NOT NULL,
  cause    text NOT NULL,
  sentence text NOT NULL
);

CREATE TABLE users (
  id            uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  name          text NOT NULL UNIQUE,
  role          text NOT NULL CHECK (role IN ('viewer', 'operator', 'administrator')),
  password_hash text NOT NULL,
  must_change   boolean NOT NULL DEFAULT false,
  created       timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Sessions are not fenced: one can log in to look at a standby.
CREATE TABLE sessions (
  token_hash bytea PRIMARY KEY,
  user_id    uuid NOT NULL REFERENCES users ON DELETE CASCADE,
  created    timestamptz NOT NULL DEFAULT clock_timestamp(),
  expires    timestamptz NOT NULL
);

CREATE TABLE tokens (
  id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  name       text NOT NULL UNIQUE,
  token_hash bytea NOT NULL UNIQUE,
  role       text NOT NULL CHECK (role IN ('viewer', 'operator', 'administrator')),
  created_by text NOT NULL,
  created    timestamptz NOT NULL DEFAULT clock_timestamp(),
  expires    timestamptz
);

CREATE TABLE credentials (
  id       uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  name     text NOT NULL UNIQUE,
  username text NOT NULL,
  -- AES-256-GCM of a JSON {password?, enable?, privateKey?} under the deployment's key.
  secret   bytea NOT NULL,
  created  timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE devices (
  id            uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  name          text NOT NULL UNIQUE,
  address       text NOT NULL,
  port          integer NOT NULL DEFAULT 22 CHECK (port BETWEEN 1 AND 65535),
  driver        text NOT NULL,
  credential_id uuid REFERENCES credentials,
  schedule      text,
  enabled       boolean NOT NULL DEFAULT true,
  note          text NOT NULL DEFAULT '',
  host_key      text,
  created       timestamptz NOT NULL DEFAULT clock_timestamp(),
  term          bigint NOT NULL DEFAULT 0
);

-- Contents by hash: the same text is stored once, however many versions and devices have it.
CREATE TABLE contents (
  hash       text PRIMARY KEY,
  compressed bytea NOT NULL,
  size       integer NOT NULL
);

CREATE TABLE versions (
  id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  device_id    uuid NOT NULL REFERENCES devices ON DELETE CASCADE,
  artefact     text NOT NULL,
  -- Of the text that is compared (noise dropped): equal means not a new version.
  hash         text NOT NULL,
  content_hash text NOT NULL REFERENCES contents,
  taken_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
  author       text,
  cause        text NOT NULL CHECK (cause IN ('schedule', 'request', 'change')),
  added        integer NOT NULL DEFAULT 0,
  removed      integer NOT NULL DEFAULT 0,
  term         bigint NOT NULL
);
CREATE INDEX versions_by_device ON versions (device_id, artefact, id DESC);

CREATE TABLE jobs (
  id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  device_id    uuid NOT NULL REFERENCES devices ON DELETE CASCADE,
  kind         text NOT NULL DEFAULT 'backup' CHECK (kind IN ('backup')),
  state        text NOT NULL DEFAULT 'queued'
               CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'unknown')),
  cause        text NOT NULL CHECK (cause IN ('schedule', 'request', 'change')),
  -- What asked for it; the same message seen twice makes one job.
  cause_key    text NOT NULL UNIQUE,
  requested_by text,
  attempts     integer NOT NULL DEFAULT 0,
  not_before   timestamptz NOT NULL DEFAULT clock_timestamp(),
  created      timestamptz NOT NULL DEFAULT clock_timestamp(),
  started      timestamptz,
  finished     timestamptz,
  failure      text,
  evidence     text,
  term         bigint NOT NULL
);
CREATE INDEX jobs_waiting ON jobs (not_before) WHERE state = 'queued';
CREATE INDEX jobs_by_device ON jobs (device_id, id DESC);

CREATE TABLE alarms (
  id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  key             text NOT NULL,
  severity        text NOT NULL CHECK (severity IN ('warning', 'critical')),
  subject         text NOT NULL,
  text            text NOT NULL,
  raised_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
  cleared_at      timestamptz,
  acknowledged_by text,
  term            bigint NOT NULL
);
CREATE UNIQUE INDEX alarms_open ON alarms (key) WHERE cleared_at IS NULL;

-- Who did what; every change that a person or a program asks for leaves a line here.
CREATE TABLE audit (
  id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at      timestamptz NOT NULL DEFAULT clock_timestamp(),
  who     text NOT NULL,
  action  text NOT NULL,
  subject text NOT NULL,
  detail  jsonb NOT NULL DEFAULT '{}',
  term    bigint NOT NULL
);

-- Shows the term one believes in. Raises KW001 unless it is the current one; until the end of the
-- transaction no takeover can raise it (FOR SHARE conflicts with the takeover's UPDATE).
CREATE FUNCTION fence(expected bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  current_term bigint;
BEGIN
  SELECT term INTO current_term FROM leadership FOR SHARE;
  IF current_term <> expected THEN
    RAISE EXCEPTION 'term % is over, the current term is %', expected, current_term
      USING ERRCODE = 'KW001';
  END IF;
  PERFORM set_config('keepwatch.term', expected::text, true);
END $$;

-- The backstop for a forgotten fence().
CREATE FUNCTION fence_check() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF coalesce(current_setting('keepwatch.term', true), '') = '' THEN
    RAISE EXCEPTION '% on % without a term', TG_OP, TG_TABLE_NAME USING ERRCODE = 'KW002';
  END IF;
  PERFORM fence(current_setting('keepwatch.term')::bigint);
  RETURN NULL;
END $$;

CREATE TRIGGER fence BEFORE INSERT OR UPDATE OR DELETE ON users
  FOR EACH STATEMENT EXECUTE FUNCTION fence_check();
CREATE TRIGGER fence BEFORE INSERT OR UPDATE OR DELETE ON tokens
  FOR EACH STATEMENT EXECUTE FUNCTION fence_check();
CREATE TRIGGER fence BEFORE INSERT OR UPDATE OR DELETE ON credentials
  FOR EACH STATEMENT EXECUTE FUNCTION fence_check();
CREATE TRIGGER fence BEFORE INSERT OR UPDATE OR DELETE ON devices
  FOR EACH STATEMENT EXECUTE FUNCTION fence_check();
CREATE TRIGGER fence BEFORE INSERT OR UPDATE OR DELETE ON contents
  FOR EACH STATEMENT EXECUTE FUNCTION fence_check();
CREATE TRIGGER fence BEFORE INSERT OR UPDATE OR DELETE ON versions
  FOR EACH STATEMENT EXECUTE FUNCTION fence_check();
CREATE TRIGGER fence BEFORE INSERT OR UPDATE OR DELETE ON jobs
  FOR EACH STATEMENT EXECUTE FUNCTION fence_check();
CREATE TRIGGER fence BEFORE INSERT OR UPDATE OR DELETE ON alarms
  FOR EACH STATEMENT EXECUTE FUNCTION fence_check();
CREATE TRIGGER fence BEFORE INSERT OR UPDATE OR DELETE ON audit
  FOR EACH STATEMENT EXECUTE FUNCTION fence_check();
