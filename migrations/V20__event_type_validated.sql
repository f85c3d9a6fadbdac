-- V20 event_type_validated: reads every event once for the rule of V19, beside everything that goes on.
alter table tenure.session_events validate constraint session_events_type_check;

revoke execute on all functions in schema tenure from public;
