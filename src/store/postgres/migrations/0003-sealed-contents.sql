-- compatible-from: 0.2.0
-- Configurations hold secrets: what is stored from now on is encrypted under the deployment's key.
-- Programs before 0.2.0 cannot read that.

-- False: only compressed, by a program before 0.2.0; the active encrypts these one by one.
ALTER TABLE contents ADD COLUMN sealed boolean NOT NULL DEFAULT false;

-- Who removes a content has to find out that no version needs it.
CREATE INDEX versions_by_content ON versions (content_hash);
