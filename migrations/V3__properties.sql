-- V3 properties: the catalogue (SEMANTICS 2), overrides, and the policies resolved from them.

create table tenure.property_catalogue (
    name           text    not null,
    type           text    not null,
    unit           text,
    default_value  text,
    minimum        int,
    maximum        int,
    zero_is_off    boolean not null default false,
    choices        text[],
    description    text    not null,
    constraint property_catalogue_pkey       primary key (name),
    constraint property_catalogue_type_check check (type in ('integer', 'string', 'boolean'))
);
comment on table  tenure.property_catalogue               is 'Every property that exists: a release writes it, nobody else.';
comment on column tenure.property_catalogue.name          is 'Name of the property.';
comment on column tenure.property_catalogue.type          is 'integer, boolean, or string; a string with bounds holds an integer.';
comment on column tenure.property_catalogue.unit          is 'Unit of the value; null for booleans and choices.';
comment on column tenure.property_catalogue.default_value is 'Value while there is no row; null means unset, or decided by the release profile.';
comment on column tenure.property_catalogue.minimum       is 'Smallest value accepted.';
comment on column tenure.property_catalogue.maximum       is 'Greatest value accepted.';
comment on column tenure.property_catalogue.zero_is_off   is 'Whether 0 is accepted besides the range and switches the limit off.';
comment on column tenure.property_catalogue.description   is 'What the property does, one sentence.';
comment on column tenure.property_catalogue.choices       is 'The accepted words of a choice.';

-- 35791394 minutes are the most whose seconds an int holds.
insert into tenure.property_catalogue (name, type, unit, default_value, minimum, maximum, zero_is_off, description, choices) values
    ('glide.ui.session_timeout',                         'integer', 'minutes', '30',       1,    1440,   false, 'Idle limit of user sessions.', null),
    ('glide.guest.session_timeout',                      'integer', 'minutes', '30',       1,    1440,   false, 'Idle limit of guest sessions.', null),
    ('glide.integration.session_timeout',                'string',  'minutes', null,       1,    1440,   false, 'Idle limit of integration sessions; its default depends on tenure.release_profile.', null),
    ('glide.ui.active.session.life_span',                'integer', 'minutes', '0',        1,    525600, true,  'Maximum life of user sessions whatever the activity; 0 is off.', null),
    ('glide.guest.active.session.life_span',             'integer', 'minutes', '0',        1,    35791394, true,  'Maximum life of guest sessions whatever the activity; 0 is off.', null),
    ('glide.integrations.active.session.life_span',      'integer', 'minutes', '0',        1,    35791394, true,  'Maximum life of integration sessions whatever the activity; 0 is off. Only while glide.active.session.timeout.invalidate.session is true.', null),
    ('glide.active.session.timeout.invalidate.session',  'boolean', null,      'false',    null, null,   false, 'Whether the maximum life of integration sessions applies.', null),
    ('glide.ui.session_timeleft',                        'integer', 'minutes', '2',        1,    1440,   true,  'How long before the idle deadline to offer "Extend your session"; 0 never offers it.', null),
    ('glide.ui.auto_req.extend.session',                 'boolean', null,      'true',     null, null,   false, 'Whether the homepage''s own reload extends a desktop session by its refresh interval.', null),
    ('glide.session.unauthorized.timeout.enabled',       'boolean', null,      'true',     null, null,   false, 'Whether glide.unauthorized.session_timeout applies to the guest session that a sign-out leaves.', null),
    ('glide.unauthorized.session_timeout',               'integer', 'minutes', null,       1,    1439,   false, 'Fixed life of the guest session that a sign-out leaves.', null),
    ('glide.security.csrf.handle.ajax.timeout',          'boolean', null,      'true',     null, null,   false, 'Whether a timed-out Ajax request is answered with "prompt_to_continue".', null),
    ('glide.security.auto.resubmit.ajax',                'boolean', null,      'false',    null, null,   false, 'Whether a timed-out Ajax request of a remembered session is resubmitted after sign-in.', null),
    ('glide.authenticate.only.allow.active.user.login',  'boolean', null,      'true',     null, null,   false, 'Whether only active users have access.', null),
    ('glide.ui.remember.me.default',                     'boolean', null,      'false',    null, null,   false, 'Remember Me of a sign-in that does not say.', null),
    ('glide.ui.user_cookie.life_span_in_days',           'integer', 'days',    '15',       1,    30,     false, 'How long Remember Me may keep a session.', null),
    ('glide.ui.forgetme',                                'boolean', null,      'false',    null, null,   false, 'Switches Remember Me off for everyone, live sessions included.', null),
    ('tenure.release_profile',                           'string',  null,      'yokohama', null, null,   false, 'Release whose default idle limit integration sessions follow.', '{helsinki,istanbul,yokohama}'),
    ('tenure.lock_out_inactive_users',                   'boolean', null,      'true',     null, null,   false, 'Whether a user who becomes inactive is locked out.', null),
    ('tenure.mobile.active.session.life_span',           'integer', 'minutes', '0',        1,    35791394, true,  'Maximum life of mobile sessions; 0 is off.', null),
    ('tenure.mobile.heartbeat_seconds',                  'integer', 'seconds', '60',       10,   3600,   false, 'How long after its last report a mobile app counts as active.', null);

create table tenure.properties (
    name       text        not null,
    value      text        not null,
    updated_at timestamptz not null default tenure.now(),
    constraint properties_pkey        primary key (name),
    constraint properties_name_fkey   foreign key (name) references tenure.property_catalogue (name),
    constraint properties_value_check check (length(value) between 1 and 255)
);
comment on table  tenure.properties            is 'Overrides of property defaults; removing a row restores the default. Plain SQL is welcome: triggers do what follows.';
comment on column tenure.properties.name       is 'Name of a property of the catalogue.';
comment on column tenure.properties.value      is 'Its value as text, in the unit of the catalogue.';
comment on column tenure.properties.updated_at is 'When the row was last written.';

create table tenure.policies (
    kind                 text    not null,
    idle_seconds         int     not null,
    max_life_seconds     int,
    remember_me_seconds  int,
    residue_seconds      int,
    prompt_seconds       int     not null default 0,
    auto_refresh_extends boolean not null default true,
    refuse_inactive      boolean not null default true,
    ajax_prompt          boolean not null default true,
    ajax_resubmit        boolean not null default false,
    revision             bigint  not null default 0,
    lowering_pass        smallint not null default 0,
    lowering_from        timestamptz,
    lowering_after       uuid,
    constraint policies_pkey       primary key (kind),
    constraint policies_kind_check check (kind in ('user', 'guest', 'integration', 'mobile')),
    constraint policies_idle_seconds_check check (idle_seconds > 0),
    constraint policies_lowering_pass_check check (lowering_pass between 0 and 2)
) with (fillfactor = 20);
comment on table  tenure.policies                      is 'The limits in force per kind, in seconds, resolved from the properties by their trigger: what a check reads.';
comment on column tenure.policies.kind                 is 'Session kind.';
comment on column tenure.policies.idle_seconds         is 'Idle limit; not used for mobile, whose window is frozen in the session.';
comment on column tenure.policies.max_life_seconds     is 'Maximum life; null when off.';
comment on column tenure.policies.remember_me_seconds  is 'How long Remember Me keeps a session; null while it is off for everyone or not of this kind.';
comment on column tenure.policies.residue_seconds      is 'Fixed life of the guest session a sign-out leaves; null when off.';
comment on column tenure.policies.prompt_seconds       is 'How long before the idle deadline the prompt begins; 0 never.';
comment on column tenure.policies.auto_refresh_extends is 'glide.ui.auto_req.extend.session.';
comment on column tenure.policies.refuse_inactive      is 'glide.authenticate.only.allow.active.user.login.';
comment on column tenure.policies.ajax_prompt          is 'glide.security.csrf.handle.ajax.timeout.';
comment on column tenure.policies.ajax_resubmit        is 'glide.security.auto.resubmit.ajax.';
comment on column tenure.policies.revision             is 'Grows with every change of properties.';
comment on column tenure.policies.lowering_pass        is 'Passes still owed over the sessions of this kind after a tightening: 2, 1, or 0 when done.';
comment on column tenure.policies.lowering_from        is 'When the pass may begin.';
comment on column tenure.policies.lowering_after       is 'Id the pass has reached, so that any node goes on where another stopped.';

-- tenure.property_rows: the overrides as one object, so that a rehearsal can pass others.
create function tenure.property_rows() returns jsonb
    language sql stable
    as $$ select coalesce(jsonb_object_agg(name, value), '{}') from tenure.properties $$;
comment on function tenure.property_rows() is 'All overrides as one JSON object, name to value.';

-- tenure.property_value: the effective value of a property under given overrides (P1): its row, else its default.
create function tenure.property_value(p_name text, p_rows jsonb) returns text
    language sql stable
    as $$
    select coalesce(
               p_rows ->> p_name,
               case p_name
                   when 'glide.integration.session_timeout' then                                   -- P4
                       case coalesce(p_rows ->> 'tenure.release_profile', 'yokohama') when 'istanbul' then '1' else '5' end
                   when 'glide.ui.session_timeleft' then
                       least(2, coalesce((p_rows ->> 'glide.ui.session_timeout')::int, 30) - 1)::text
                   else (select default_value from tenure.property_catalogue where name = p_name)
               end)
    $$;
comment on function tenure.property_value(text, jsonb) is 'The effective value of a property under given overrides: its row, else the default; null when unset.';

-- tenure.property_value: the effective value of a property now.
create function tenure.property_value(p_name text) returns text
    language sql stable
    as $$ select tenure.property_value(p_name, tenure.property_rows()) $$;
comment on function tenure.property_value(text) is 'The effective value of a property now; null when unset.';

-- tenure.property_problem: what is wrong with a value by itself, as a sentence; null when nothing is (P2).
create function tenure.property_problem(p_name text, p_value text) returns text
    language sql stable
    as $$
    select case
               when c.type = 'boolean' and p_value not in ('true', 'false') then
                   format('%s is a boolean: exactly true or false.', p_name)
               when c.choices is not null and p_value <> all (c.choices) then
                   format('%s is one of: %s.', p_name, array_to_string(c.choices, ', '))
               when c.minimum is not null and p_value !~ '^(0|[1-9][0-9]{0,8})$' then
                   format('%s is a whole number of %s without sign, spaces or leading zeros.', p_name, c.unit)
               when c.minimum is not null and not (p_value::int between c.minimum and c.maximum or (c.zero_is_off and p_value::int = 0)) then
                   format('%s is %s%s to %s %s.', p_name, case when c.zero_is_off then '0 (off) or ' else '' end, c.minimum, c.maximum, c.unit)
           end
      from tenure.property_catalogue c
     where c.name = p_name
    $$;
comment on function tenure.property_problem(text, text) is 'Why a value does not fit its property, as a sentence; null when it does.';

-- tenure.broken_relations: every pair of properties whose effective values contradict each other (P3).
create function tenure.broken_relations(p_rows jsonb)
    returns table (name text, other text, forceable boolean, message text)
    language sql stable
    as $$
    with pair (name, other, forceable, zero_is_off) as (
        values ('glide.ui.active.session.life_span',           'glide.ui.session_timeout',          true,  true),
               ('glide.guest.active.session.life_span',        'glide.guest.session_timeout',       true,  true),
               ('glide.integrations.active.session.life_span', 'glide.integration.session_timeout', true,  true),
               ('glide.ui.session_timeleft',                   'glide.ui.session_timeout',          false, true),
               ('glide.unauthorized.session_timeout',          'glide.ui.session_timeout',          false, false)
    ), held as (
        select pair.*, tenure.property_value(pair.name, p_rows)::int as value, tenure.property_value(pair.other, p_rows)::int as limit_value
          from pair
    )
    select h.name, h.other, h.forceable,
           case when h.forceable then format('%s (%s) must be greater than %s (%s), or 0.', h.name, h.value, h.other, h.limit_value)
                else                  format('%s (%s) must be less than %s (%s).',          h.name, h.value, h.other, h.limit_value) end
      from held h
     where h.value is not null
       and not (h.zero_is_off and h.value = 0)
       and case when h.forceable then h.value <= h.limit_value else h.value >= h.limit_value end
    $$;
comment on function tenure.broken_relations(jsonb) is 'Pairs of properties that contradict each other under given overrides; a forceable one may be accepted by force.';

-- tenure.property_warnings: what an accepted value deserves to hear.
create function tenure.property_warnings(p_name text, p_rows jsonb) returns text[]
    language sql stable
    as $$
    select coalesce(array_agg(warning), '{}')
      from (select 'Above 240 minutes idle sessions pile up: no more than a few hours is advised.' as warning
             where p_name = 'glide.ui.session_timeout' and tenure.property_value(p_name, p_rows)::int > 240
             union all
            select r.message || ' The earlier limit wins.'
              from tenure.broken_relations(p_rows) r
             where p_name in (r.name, r.other)) w
    $$;
comment on function tenure.property_warnings(text, jsonb) is 'Warnings about the effective value of a property.';

-- tenure.resolved_policies: the limits per kind in seconds under given overrides.
create function tenure.resolved_policies(p_rows jsonb)
    returns table (kind text, idle_seconds int, max_life_seconds int, remember_me_seconds int, residue_seconds int, prompt_seconds int,
                   auto_refresh_extends boolean, refuse_inactive boolean, ajax_prompt boolean, ajax_resubmit boolean)
    language sql stable
    as $$
    with value as materialized (
        select c.name, tenure.property_value(c.name, p_rows) as value from tenure.property_catalogue c
    ), v as materialized (
        select max(value::int)     filter (where name = 'glide.ui.session_timeout')                                       as user_idle,
               max(value::int)     filter (where name = 'glide.guest.session_timeout')                                    as guest_idle,
               max(value::int)     filter (where name = 'glide.integration.session_timeout')                              as integration_idle,
               nullif(max(value::int) filter (where name = 'glide.ui.active.session.life_span'), 0)                       as user_life,
               nullif(max(value::int) filter (where name = 'glide.guest.active.session.life_span'), 0)                    as guest_life,
               nullif(max(value::int) filter (where name = 'glide.integrations.active.session.life_span'), 0)             as integration_life,
               nullif(max(value::int) filter (where name = 'tenure.mobile.active.session.life_span'), 0)                  as mobile_life,
               max(value::int)     filter (where name = 'glide.ui.user_cookie.life_span_in_days')                         as remember_me_days,
               max(value::int)     filter (where name = 'glide.unauthorized.session_timeout')                             as residue,
               max(value::int)     filter (where name = 'glide.ui.session_timeleft')                                      as prompt,
               bool_and(value = 'true') filter (where name = 'glide.active.session.timeout.invalidate.session')           as integration_life_on,
               bool_and(value = 'true') filter (where name = 'glide.ui.forgetme')                                         as forget_me,
               bool_and(value = 'true') filter (where name = 'glide.session.unauthorized.timeout.enabled')                as residue_on,
               bool_and(value = 'true') filter (where name = 'glide.ui.auto_req.extend.session')                          as auto_refresh_extends,
               bool_and(value = 'true') filter (where name = 'glide.authenticate.only.allow.active.user.login')           as refuse_inactive,
               bool_and(value = 'true') filter (where name = 'glide.security.csrf.handle.ajax.timeout')                   as ajax_prompt,
               bool_and(value = 'true') filter (where name = 'glide.security.auto.resubmit.ajax')                         as ajax_resubmit
          from value
    )
    select k.kind, k.idle * 60, k.life * 60, k.remember_me_days * 86400, k.residue * 60, k.prompt * 60,
           v.auto_refresh_extends, v.refuse_inactive, v.ajax_prompt, v.ajax_resubmit
      from v
     cross join lateral (
         values ('user',        v.user_idle,        v.user_life,  case when not v.forget_me then v.remember_me_days end, null::int, v.prompt),
                ('guest',       v.guest_idle,       v.guest_life, null::int, case when v.residue_on then v.residue end,  0),
                ('integration', v.integration_idle, case when v.integration_life_on then v.integration_life end, null::int, null::int, 0),
                ('mobile',      v.user_idle,        v.mobile_life, null::int, null::int, 0)
     ) as k (kind, idle, life, remember_me_days, residue, prompt)
    $$;
comment on function tenure.resolved_policies(jsonb) is 'The limits per kind in seconds under given overrides: what policies holds, or would hold.';

insert into tenure.policies (kind, idle_seconds, max_life_seconds, remember_me_seconds, residue_seconds, prompt_seconds,
                             auto_refresh_extends, refuse_inactive, ajax_prompt, ajax_resubmit)
select * from tenure.resolved_policies('{}');
