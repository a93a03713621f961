-- What a person says of an exporter of flows. Who says nothing of it has no row.
CREATE TABLE exporters (
  address    inet PRIMARY KEY,
  -- Packets of which it looks at one, whatever it says itself.
  sampling   bigint NOT NULL CHECK (sampling BETWEEN 1 AND 4294967295),
  changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  changed_by text NOT NULL
);
CREATE TRIGGER fence BEFORE INSERT OR UPDATE OR DELETE ON exporters
  FOR EACH STATEMENT EXECUTE FUNCTION fence_check();
