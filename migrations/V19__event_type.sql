-- V19 event_type: the same rule for the type of an event without a regular expression, which took a third of the time of writing one.

-- Not valid: what is there has passed the same rule, and nobody waits for it to be read again under this lock. V20 reads it.
alter table tenure.session_events
    drop constraint session_events_type_check,
    add constraint session_events_type_check
        check (ltrim(type, 'abcdefghijklmnopqrstuvwxyz_') = '' and left(type, 1) <> '_' and length(type) between 1 and 63) not valid;

revoke execute on all functions in schema tenure from public;
