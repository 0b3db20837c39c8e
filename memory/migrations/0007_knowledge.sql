-- Vector memory: texts cut into chunks, found by meaning and by words.

CREATE EXTENSION IF NOT EXISTS vector;

-- Whose vectors answer. While another model's are being built, the old ones still do.
CREATE TABLE knowledge_models (
    model            text PRIMARY KEY,
    dimensions       integer NOT NULL CHECK (dimensions BETWEEN 1 AND 4000),
    state            text NOT NULL CHECK (state IN ('building', 'answering', 'retired')),
    created_at       timestamptz NOT NULL DEFAULT now(),
    answering_since  timestamptz
);
CREATE UNIQUE INDEX knowledge_models_live ON knowledge_models (state) WHERE state IN ('building', 'answering');

-- What has been indexed, and from which text: a source without words has a row here and no chunks.
CREATE TABLE knowledge_sources (
    source_type  text NOT NULL CHECK (source_type IN ('communication', 'transcript', 'note', 'research', 'summary', 'intelligence_source', 'email_reply')),
    source_id    uuid NOT NULL,
    text_hash    text NOT NULL,
    chunks       integer NOT NULL,
    indexed_at   timestamptz NOT NULL,
    PRIMARY KEY (source_type, source_id)
);

-- What is to be read, or read again. Triggers fill it, so that nobody looks through every communication for it.
CREATE TABLE knowledge_queue (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source_type  text NOT NULL,
    source_id    uuid NOT NULL
);

CREATE TABLE knowledge_chunks (
    id                uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    source_type       text NOT NULL,
    source_id         uuid NOT NULL,
    chunk_index       integer NOT NULL,
    company_id        uuid REFERENCES companies ON DELETE SET NULL,
    contact_id        uuid REFERENCES contacts ON DELETE SET NULL,
    deal_id           uuid REFERENCES deals ON DELETE SET NULL,
    owner_user_id     uuid REFERENCES users ON DELETE CASCADE,
    title             text NOT NULL DEFAULT '',
    content           text NOT NULL,
    content_hash      text NOT NULL,
    embedding_model   text NOT NULL REFERENCES knowledge_models ON DELETE CASCADE,
    dimensions        integer NOT NULL,
    embedding         vector,
    search            tsvector GENERATED ALWAYS AS (to_tsvector('english', title || ' ' || content)) STORED,
    occurred_at       timestamptz,
    claimed_at        timestamptz,
    attempts          integer NOT NULL DEFAULT 0,
    created_at        timestamptz NOT NULL DEFAULT now(),
    UNIQUE (source_type, source_id, chunk_index, embedding_model),
    FOREIGN KEY (source_type, source_id) REFERENCES knowledge_sources ON DELETE CASCADE,
    CHECK (embedding IS NULL OR vector_dims(embedding) = dimensions)
);
-- Beside the row, not behind it: an exact scan reads every vector of its scope.
ALTER TABLE knowledge_chunks ALTER COLUMN embedding SET STORAGE MAIN;
CREATE INDEX knowledge_chunks_company ON knowledge_chunks (company_id, occurred_at DESC);
CREATE INDEX knowledge_chunks_contact ON knowledge_chunks (contact_id) WHERE contact_id IS NOT NULL;
CREATE INDEX knowledge_chunks_deal ON knowledge_chunks (deal_id) WHERE deal_id IS NOT NULL;
CREATE INDEX knowledge_chunks_owner ON knowledge_chunks (owner_user_id);
-- Without a list of pending entries, which every search would have to read through.
CREATE INDEX knowledge_chunks_search ON knowledge_chunks USING gin (search) WITH (fastupdate = off);
CREATE INDEX knowledge_chunks_pending ON knowledge_chunks (embedding_model, created_at) WHERE embedding IS NULL;

CREATE FUNCTION queue_knowledge() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO knowledge_queue (source_type, source_id) VALUES (TG_ARGV[0], NEW.id);
    RETURN NULL;
END $$;
CREATE TRIGGER communications_queue_new AFTER INSERT ON communications FOR EACH ROW
    WHEN (NEW.excluded_at IS NULL AND NEW.noise_type IS NULL) EXECUTE FUNCTION queue_knowledge('communication');
CREATE TRIGGER communications_queue_changed AFTER UPDATE OF subject, full_content, excluded_at, noise_type ON communications FOR EACH ROW
    WHEN (NEW.excluded_at IS NULL AND NEW.noise_type IS NULL
          AND (OLD.subject, OLD.full_content, OLD.excluded_at, OLD.noise_type)
              IS DISTINCT FROM (NEW.subject, NEW.full_content, NEW.excluded_at, NEW.noise_type))
    EXECUTE FUNCTION queue_knowledge('communication');
CREATE TRIGGER meeting_transcriptions_queue_new AFTER INSERT ON meeting_transcriptions FOR EACH ROW
    EXECUTE FUNCTION queue_knowledge('transcript');
CREATE TRIGGER meeting_transcriptions_queue_changed AFTER UPDATE OF title, transcription_text, user_id ON meeting_transcriptions FOR EACH ROW
    WHEN ((OLD.title, OLD.transcription_text, OLD.user_id) IS DISTINCT FROM (NEW.title, NEW.transcription_text, NEW.user_id))
    EXECUTE FUNCTION queue_knowledge('transcript');
CREATE TRIGGER relationship_notes_queue_new AFTER INSERT ON relationship_notes FOR EACH ROW
    EXECUTE FUNCTION queue_knowledge('note');
CREATE TRIGGER relationship_notes_queue_changed AFTER UPDATE OF note, deleted_at ON relationship_notes FOR EACH ROW
    WHEN ((OLD.note, OLD.deleted_at) IS DISTINCT FROM (NEW.note, NEW.deleted_at)) EXECUTE FUNCTION queue_knowledge('note');
CREATE TRIGGER ai_summaries_queue_new AFTER INSERT ON ai_summaries FOR EACH ROW
    EXECUTE FUNCTION queue_knowledge('summary');
CREATE TRIGGER ai_summaries_queue_changed AFTER UPDATE OF summary_text, audience_id ON ai_summaries FOR EACH ROW
    WHEN ((OLD.summary_text, OLD.audience_id) IS DISTINCT FROM (NEW.summary_text, NEW.audience_id))
    EXECUTE FUNCTION queue_knowledge('summary');

-- A chunk is a copy. What is erased or excluded must not be found again, whoever erases it and by whichever cascade,
-- and a copy must never be visible to more people than its source is: hence triggers, not a rule for every caller.
CREATE FUNCTION forget_knowledge() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM knowledge_sources s USING gone WHERE s.source_type = ANY (TG_ARGV) AND s.source_id = gone.id;
    RETURN NULL;
END $$;
CREATE TRIGGER communications_forget AFTER DELETE ON communications
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION forget_knowledge('communication', 'email_reply');
CREATE TRIGGER meeting_transcriptions_forget AFTER DELETE ON meeting_transcriptions
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION forget_knowledge('transcript');
CREATE TRIGGER relationship_notes_forget AFTER DELETE ON relationship_notes
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION forget_knowledge('note');
CREATE TRIGGER ai_summaries_forget AFTER DELETE ON ai_summaries
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION forget_knowledge('summary');

CREATE FUNCTION drop_knowledge() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM knowledge_sources WHERE source_type = ANY (TG_ARGV) AND source_id = NEW.id;
    RETURN NULL;
END $$;
CREATE TRIGGER communications_drop AFTER UPDATE OF excluded_at, noise_type ON communications FOR EACH ROW
    WHEN ((NEW.excluded_at IS NOT NULL AND OLD.excluded_at IS NULL) OR (NEW.noise_type IS NOT NULL AND OLD.noise_type IS NULL))
    EXECUTE FUNCTION drop_knowledge('communication', 'email_reply');
CREATE TRIGGER relationship_notes_drop AFTER UPDATE OF deleted_at ON relationship_notes FOR EACH ROW
    WHEN (NEW.deleted_at IS NOT NULL AND OLD.deleted_at IS NULL) EXECUTE FUNCTION drop_knowledge('note');

-- Without an owner a chunk is visible to everybody, and these sources are nobody's when their person is gone.
CREATE FUNCTION move_knowledge() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.user_id IS NULL THEN
        DELETE FROM knowledge_sources WHERE source_type = ANY (TG_ARGV) AND source_id = NEW.id;
    ELSE
        UPDATE knowledge_chunks
           SET company_id = NEW.company_id, contact_id = NEW.contact_id, deal_id = NEW.deal_id, owner_user_id = NEW.user_id
         WHERE source_type = ANY (TG_ARGV) AND source_id = NEW.id;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER communications_move AFTER UPDATE OF user_id, company_id, contact_id, deal_id ON communications FOR EACH ROW
    WHEN ((OLD.user_id, OLD.company_id, OLD.contact_id, OLD.deal_id) IS DISTINCT FROM (NEW.user_id, NEW.company_id, NEW.contact_id, NEW.deal_id))
    EXECUTE FUNCTION move_knowledge('communication', 'email_reply');
CREATE TRIGGER meeting_transcriptions_move AFTER UPDATE OF user_id, company_id, contact_id, deal_id ON meeting_transcriptions FOR EACH ROW
    WHEN ((OLD.user_id, OLD.company_id, OLD.contact_id, OLD.deal_id) IS DISTINCT FROM (NEW.user_id, NEW.company_id, NEW.contact_id, NEW.deal_id))
    EXECUTE FUNCTION move_knowledge('transcript');
