-- The words that a suggestion rests on. They are somebody's mail: events cannot be taken back and more people read them,
-- so they stand here, are shown to those who may read the message, and go when it goes. No read model is referred to:
-- a rebuild writes those again, and what is here cannot be made from events.
CREATE TABLE suggestion_evidence (
    suggestion_id     uuid PRIMARY KEY,
    communication_id  uuid NOT NULL REFERENCES communications ON DELETE CASCADE,
    quote             text NOT NULL CHECK (quote <> ''),
    created_at        timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX suggestion_evidence_communication ON suggestion_evidence (communication_id);
