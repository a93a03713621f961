-- Made from the catalogs after all migrations; npm run schema writes it anew.

CREATE TABLE alarms (
  id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
  key text NOT NULL,
  severity text NOT NULL,
  subject text NOT NULL,
  text text NOT NULL,
  raised_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
  cleared_at timestamp with time zone,
  acknowledged_by text,
  term bigint NOT NULL,
  CONSTRAINT alarms_pkey PRIMARY KEY (id),
  CONSTRAINT alarms_severity_check CHECK ((severity = ANY (ARRAY['warning'::text, 'critical'::text])))
);
CREATE UNIQUE INDEX alarms_open ON public.alarms USING btree (key) WHERE (cleared_at IS NULL);
CREATE TRIGGER fence BEFORE INSERT OR DELETE OR UPDATE ON public.alarms FOR EACH STATEMENT EXECUTE FUNCTION fence_check();

CREATE TABLE audit (
  id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
  at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
  who text NOT NULL,
  action text NOT NULL,
  subject text NOT NULL,
  detail jsonb NOT NULL DEFAULT '{}'::jsonb,
  term bigint NOT NULL,
  CONSTRAINT audit_pkey PRIMARY KEY (id)
);
CREATE TRIGGER fence BEFORE INSERT OR DELETE OR UPDATE ON public.audit FOR EACH STATEMENT EXECUTE FUNCTION fence_check();

CREATE TABLE contents (
  hash text NOT NULL,
  compressed bytea NOT NULL,
  size integer NOT NULL,
  sealed boolean NOT NULL DEFAULT false,
  CONSTRAINT contents_pkey PRIMARY KEY (hash)
);
CREATE TRIGGER fence BEFORE INSERT OR DELETE OR UPDATE ON public.contents FOR EACH STATEMENT EXECUTE FUNCTION fence_check();

CREATE TABLE credentials (
  id uuid NOT NULL DEFAULT gen_random_uuid(),
  name text NOT NULL,
  username text NOT NULL,
  secret bytea NOT NULL,
  created timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
  CONSTRAINT credentials_name_key UNIQUE (name),
  CONSTRAINT credentials_pkey PRIMARY KEY (id)
);
CREATE TRIGGER fence BEFORE INSERT OR DELETE OR UPDATE ON public.credentials FOR EACH STATEMENT EXECUTE FUNCTION fence_check();

CREATE TABLE devices (
  id uuid NOT NULL DEFAULT gen_random_uuid(),
  name text NOT NULL,
  address text NOT NULL,
  port integer NOT NULL DEFAULT 22,
  driver text NOT NULL,
  credential_id uuid,
  schedule text,
  enabled boolean NOT NULL DEFAULT true,
  note text NOT NULL DEFAULT ''::text,
  host_key text,
  created timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
  term bigint NOT NULL DEFAULT 0,
  CONSTRAINT devices_name_key UNIQUE (name),
  CONSTRAINT devices_pkey PRIMARY KEY (id),
  CONSTRAINT devices_credential_id_fkey FOREIGN KEY (credential_id) REFERENCES credentials(id),
  CONSTRAINT devices_port_check CHECK (((port >= 1) AND (port <= 65535)))
);
CREATE TRIGGER fence BEFORE INSERT OR DELETE OR UPDATE ON public.devices FOR EACH STATEMENT EXECUTE FUNCTION fence_check();

CREATE TABLE exporters (
  address inet NOT NULL,
  sampling bigint NOT NULL,
  changed_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
  changed_by text NOT NULL,
  CONSTRAINT exporters_pkey PRIMARY KEY (address),
  CONSTRAINT exporters_sampling_check CHECK (((sampling >= 1) AND (sampling <= '4294967295'::bigint)))
);
CREATE TRIGGER fence BEFORE INSERT OR DELETE OR UPDATE ON public.exporters FOR EACH STATEMENT EXECUTE FUNCTION fence_check();

CREATE TABLE hand_overs (
  code_hash bytea NOT NULL,
  session_hash bytea NOT NULL,
  expires timestamp with time zone NOT NULL,
  CONSTRAINT hand_overs_pkey PRIMARY KEY (code_hash),
  CONSTRAINT hand_overs_session_hash_fkey FOREIGN KEY (session_hash) REFERENCES sessions(token_hash) ON DELETE CASCADE
);

CREATE TABLE heartbeat (
  only_row boolean NOT NULL DEFAULT true,
  term bigint NOT NULL DEFAULT 0,
  incarnation uuid,
  counter bigint NOT NULL DEFAULT 0,
  beaten_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
  CONSTRAINT heartbeat_pkey PRIMARY KEY (only_row),
  CONSTRAINT heartbeat_only_row_check CHECK (only_row)
) WITH (fillfactor=10);

CREATE TABLE interfaces (
  exporter inet NOT NULL,
  entries jsonb NOT NULL,
  changed_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
  CONSTRAINT interfaces_pkey PRIMARY KEY (exporter)
);
CREATE TRIGGER fence BEFORE INSERT OR DELETE OR UPDATE ON public.interfaces FOR EACH STATEMENT EXECUTE FUNCTION fence_check();

CREATE TABLE jobs (
  id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
  device_id uuid NOT NULL,
  kind text NOT NULL DEFAULT 'backup'::text,
  state text NOT NULL DEFAULT 'queued'::text,
  cause text NOT NULL,
  cause_key text NOT NULL,
  requested_by text,
  attempts integer NOT NULL DEFAULT 0,
  not_before timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
  created timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
  started timestamp with time zone,
  finished timestamp with time zone,
  failure text,
  evidence text,
  term bigint NOT NULL,
  CONSTRAINT jobs_cause_key_key UNIQUE (cause_key),
  CONSTRAINT jobs_pkey PRIMARY KEY (id),
  CONSTRAINT jobs_device_id_fkey FOREIGN KEY (device_id) REFERENCES devices(id) ON DELETE CASCADE,
  CONSTRAINT jobs_cause_check CHECK ((cause = ANY (ARRAY['schedule'::text, 'request'::text, 'change'::text]))),
  CONSTRAINT jobs_kind_check CHECK ((kind = 'backup'::text)),
  CONSTRAINT jobs_state_check CHECK ((state = ANY (ARRAY['queued'::text, 'running'::text, 'succeeded'::text, 'failed'::text, 'unknown'::text])))
);
CREATE INDEX jobs_by_device ON public.jobs USING btree (device_id, id DESC);
CREATE INDEX jobs_waiting ON public.jobs USING btree (not_before) WHERE (state = 'queued'::text);
CREATE TRIGGER fence BEFORE INSERT OR DELETE OR UPDATE ON public.jobs FOR EACH STATEMENT EXECUTE FUNCTION fence_check();

CREATE TABLE join_tokens (
  id uuid NOT NULL,
  secret bytea NOT NULL,
  created_by text NOT NULL,
  created timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
  expires timestamp with time zone NOT NULL,
  used_at timestamp with time zone,
  used_by text,
  CONSTRAINT join_tokens_pkey PRIMARY KEY (id)
);
CREATE TRIGGER fence BEFORE INSERT OR DELETE OR UPDATE ON public.join_tokens FOR EACH STATEMENT EXECUTE FUNCTION fence_check();

CREATE TABLE leadership (
  only_row boolean NOT NULL DEFAULT true,
  term bigint NOT NULL DEFAULT 0,
  holder text,
  incarnation uuid,
  since timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
  reason text NOT NULL DEFAULT 'nobody has been active yet'::text,
  released boolean NOT NULL DEFAULT true,
  lease_ms integer NOT NULL DEFAULT 10000,
  intended text,
  paused_by text,
  paused_reason text,
  paused_until timestamp with time zone,
  takeovers timestamp with time zone[] NOT NULL DEFAULT '{}'::timestamp with time zone[],
  CONSTRAINT leadership_pkey PRIMARY KEY (only_row),
  CONSTRAINT leadership_only_row_check CHECK (only_row)
);

CREATE TABLE left_behind (
  id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
  found timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
  server text NOT NULL,
  kept text NOT NULL,
  unread text,
  rows jsonb NOT NULL,
  changes jsonb NOT NULL,
  change_count bigint NOT NULL,
  seen_at timestamp with time zone,
  seen_by text,
  CONSTRAINT left_behind_pkey PRIMARY KEY (id)
);

CREATE TABLE migrations (
  number integer NOT NULL,
  name text NOT NULL,
  hash text NOT NULL,
  applied timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
  compatible_from text NOT NULL DEFAULT '0.1.0'::text,
  applied_by text,
  CONSTRAINT migrations_pkey PRIMARY KEY (number)
);

CREATE TABLE name_lists (
  list text NOT NULL,
  entries jsonb NOT NULL,
  version bigint NOT NULL,
  changed_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
  changed_by text NOT NULL,
  CONSTRAINT name_lists_pkey PRIMARY KEY (list),
  CONSTRAINT name_lists_list_check CHECK ((list = ANY (ARRAY['networks'::text, 'applications'::text])))
);
CREATE TRIGGER fence BEFORE INSERT OR DELETE OR UPDATE ON public.name_lists FOR EACH STATEMENT EXECUTE FUNCTION fence_check();

CREATE TABLE operations (
  id uuid NOT NULL,
  kind text NOT NULL,
  by text NOT NULL,
  started timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
  finished timestamp with time zone,
  ok boolean,
  steps jsonb NOT NULL DEFAULT '[]'::jsonb,
  report jsonb,
  CONSTRAINT operations_pkey PRIMARY KEY (id),
  CONSTRAINT operations_kind_check CHECK ((kind = ANY (ARRAY['switchover'::text, 'drill'::text, 'preflight'::text, 'upgrade'::text])))
);
CREATE INDEX operations_newest ON public.operations USING btree (started DESC);

CREATE TABLE outbox (
  id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
  key text NOT NULL,
  class text NOT NULL,
  channel text NOT NULL,
  recipient text NOT NULL,
  subject text NOT NULL,
  body jsonb NOT NULL,
  state text NOT NULL DEFAULT 'waiting'::text,
  attempts integer NOT NULL DEFAULT 0,
  not_before timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
  created timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
  sent_at timestamp with time zone,
  failure text,
  term bigint NOT NULL,
  CONSTRAINT outbox_key_key UNIQUE (key),
  CONSTRAINT outbox_pkey PRIMARY KEY (id),
  CONSTRAINT outbox_channel_check CHECK ((channel = ANY (ARRAY['mail'::text, 'webhook'::text]))),
  CONSTRAINT outbox_class_check CHECK ((class = ANY (ARRAY['self-monitoring'::text, 'synchronization'::text, 'takeover'::text, 'test'::text]))),
  CONSTRAINT outbox_state_check CHECK ((state = ANY (ARRAY['waiting'::text, 'sending'::text, 'ending'::text, 'sent'::text, 'failed'::text])))
);
CREATE INDEX outbox_waiting ON public.outbox USING btree (not_before) WHERE (state = ANY (ARRAY['waiting'::text, 'sending'::text, 'ending'::text]));
CREATE TRIGGER fence BEFORE INSERT OR DELETE OR UPDATE ON public.outbox FOR EACH STATEMENT EXECUTE FUNCTION fence_check();

CREATE TABLE pair_settings (
  only_row boolean NOT NULL DEFAULT true,
  settings jsonb NOT NULL,
  secrets bytea,
  version bigint NOT NULL,
  changed_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
  changed_by text NOT NULL,
  CONSTRAINT pair_settings_pkey PRIMARY KEY (only_row),
  CONSTRAINT pair_settings_only_row_check CHECK (only_row)
);
CREATE TRIGGER fence BEFORE INSERT OR DELETE OR UPDATE ON public.pair_settings FOR EACH STATEMENT EXECUTE FUNCTION fence_check();

CREATE TABLE role_changes (
  id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
  at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
  server text NOT NULL,
  role text NOT NULL,
  term bigint NOT NULL,
  cause text NOT NULL,
  sentence text NOT NULL,
  CONSTRAINT role_changes_pkey PRIMARY KEY (id),
  CONSTRAINT role_changes_role_check CHECK ((role = ANY (ARRAY['active'::text, 'standby'::text, 'stopped'::text])))
);

CREATE TABLE servers (
  name text NOT NULL,
  installed text NOT NULL,
  incarnation uuid NOT NULL,
  version text NOT NULL,
  console_url text NOT NULL,
  link_host text NOT NULL,
  link_port integer NOT NULL,
  started_at timestamp with time zone NOT NULL,
  seen_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
  CONSTRAINT servers_pkey PRIMARY KEY (name),
  CONSTRAINT servers_installed_check CHECK ((installed = ANY (ARRAY['primary'::text, 'secondary'::text])))
);

CREATE TABLE sessions (
  token_hash bytea NOT NULL,
  user_id uuid NOT NULL,
  created timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
  expires timestamp with time zone NOT NULL,
  CONSTRAINT sessions_pkey PRIMARY KEY (token_hash),
  CONSTRAINT sessions_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
);

CREATE TABLE snmp_accesses (
  id uuid NOT NULL,
  name text NOT NULL,
  version text NOT NULL,
  secret bytea NOT NULL,
  created timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
  CONSTRAINT snmp_accesses_name_key UNIQUE (name),
  CONSTRAINT snmp_accesses_pkey PRIMARY KEY (id),
  CONSTRAINT snmp_accesses_version_check CHECK ((version = ANY (ARRAY['2c'::text, '3'::text])))
);
CREATE TRIGGER fence BEFORE INSERT OR DELETE OR UPDATE ON public.snmp_accesses FOR EACH STATEMENT EXECUTE FUNCTION fence_check();

CREATE TABLE tokens (
  id uuid NOT NULL DEFAULT gen_random_uuid(),
  name text NOT NULL,
  token_hash bytea NOT NULL,
  role text NOT NULL,
  created_by text NOT NULL,
  created timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
  expires timestamp with time zone,
  CONSTRAINT tokens_name_key UNIQUE (name),
  CONSTRAINT tokens_token_hash_key UNIQUE (token_hash),
  CONSTRAINT tokens_pkey PRIMARY KEY (id),
  CONSTRAINT tokens_role_check CHECK ((role = ANY (ARRAY['viewer'::text, 'operator'::text, 'administrator'::text])))
);
CREATE TRIGGER fence BEFORE INSERT OR DELETE OR UPDATE ON public.tokens FOR EACH STATEMENT EXECUTE FUNCTION fence_check();

CREATE TABLE users (
  id uuid NOT NULL DEFAULT gen_random_uuid(),
  name text NOT NULL,
  role text NOT NULL,
  password_hash text NOT NULL,
  must_change boolean NOT NULL DEFAULT false,
  created timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
  CONSTRAINT users_name_key UNIQUE (name),
  CONSTRAINT users_pkey PRIMARY KEY (id),
  CONSTRAINT users_role_check CHECK ((role = ANY (ARRAY['viewer'::text, 'operator'::text, 'administrator'::text])))
);
CREATE TRIGGER fence BEFORE INSERT OR DELETE OR UPDATE ON public.users FOR EACH STATEMENT EXECUTE FUNCTION fence_check();

CREATE TABLE versions (
  id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
  device_id uuid NOT NULL,
  artefact text NOT NULL,
  hash text NOT NULL,
  content_hash text NOT NULL,
  taken_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
  author text,
  cause text NOT NULL,
  added integer NOT NULL DEFAULT 0,
  removed integer NOT NULL DEFAULT 0,
  term bigint NOT NULL,
  CONSTRAINT versions_pkey PRIMARY KEY (id),
  CONSTRAINT versions_content_hash_fkey FOREIGN KEY (content_hash) REFERENCES contents(hash),
  CONSTRAINT versions_device_id_fkey FOREIGN KEY (device_id) REFERENCES devices(id) ON DELETE CASCADE,
  CONSTRAINT versions_cause_check CHECK ((cause = ANY (ARRAY['schedule'::text, 'request'::text, 'change'::text])))
);
CREATE INDEX versions_by_content ON public.versions USING btree (content_hash);
CREATE INDEX versions_by_device ON public.versions USING btree (device_id, artefact, id DESC);
CREATE TRIGGER fence BEFORE INSERT OR DELETE OR UPDATE ON public.versions FOR EACH STATEMENT EXECUTE FUNCTION fence_check();

CREATE OR REPLACE FUNCTION public.fence(expected bigint)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
DECLARE
  current_term bigint;
BEGIN
  SELECT term INTO current_term FROM leadership FOR SHARE;
  IF current_term <> expected THEN
    RAISE EXCEPTION 'term % is over, the current term is %', expected, current_term
      USING ERRCODE = 'KW001';
  END IF;
  PERFORM set_config('keepwatch.term', expected::text, true);
END $function$;

CREATE OR REPLACE FUNCTION public.fence_check()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
  IF coalesce(current_setting('keepwatch.term', true), '') = '' THEN
    RAISE EXCEPTION '% on % without a term', TG_OP, TG_TABLE_NAME USING ERRCODE = 'KW002';
  END IF;
  PERFORM fence(current_setting('keepwatch.term')::bigint);
  RETURN NULL;
END $function$;
