-- What people say about flows, over what exporters say.

-- Who says nothing of an exporter has no row.
CREATE TABLE exporters (
  address    inet PRIMARY KEY,
  -- Packets of which it looks at one, whatever it says itself.
  sampling   bigint NOT NULL CHECK (sampling BETWEEN 1 AND 4294967295),
  changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  changed_by text NOT NULL
);

-- The networks and applications that have names, one row a list, replaced as a whole.
CREATE TABLE name_lists (
  list       text PRIMARY KEY CHECK (list IN ('networks', 'applications')),
  entries    jsonb NOT NULL,
  -- Rises by one with each change.
  version    bigint NOT NULL,
  changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  changed_by text NOT NULL
);

CREATE TRIGGER fence BEFORE INSERT OR UPDATE OR DELETE ON exporters
  FOR EACH STATEMENT EXECUTE FUNCTION fence_check();
CREATE TRIGGER fence BEFORE INSERT OR UPDATE OR DELETE ON name_lists
  FOR EACH STATEMENT EXECUTE FUNCTION fence_check();

-- How to ask the SNMP agents of exporters for the names of interfaces.
CREATE TABLE snmp_accesses (
  id      uuid PRIMARY KEY,
  name    text NOT NULL UNIQUE,
  version text NOT NULL CHECK (version IN ('2c', '3')),
  -- AES-256-GCM of a JSON under the deployment's key: community, or user and keys.
  secret  bytea NOT NULL,
  created timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- What an exporter calls its interfaces; one row an exporter.
CREATE TABLE interfaces (
  exporter   inet PRIMARY KEY,
  -- [{index, name, alias, speed}]
  entries    jsonb NOT NULL,
  changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TRIGGER fence BEFORE INSERT OR UPDATE OR DELETE ON snmp_accesses
  FOR EACH STATEMENT EXECUTE FUNCTION fence_check();
CREATE TRIGGER fence BEFORE INSERT OR UPDATE OR DELETE ON interfaces
  FOR EACH STATEMENT EXECUTE FUNCTION fence_check();
