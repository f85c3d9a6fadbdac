-- V9 near_cache: what nodes that remember sessions rely on.

-- tenure.applied_everywhere: whether every registered node knows what a transaction changed.
create or replace function tenure.applied_everywhere(p_xid xid8) returns boolean
    language sql volatile
    as $$
    select not exists (
        select from tenure.nodes n
         where not n.fenced
           and not pg_visible_in_snapshot(p_xid, n.applied))
    $$;
comment on function tenure.applied_everywhere(xid8) is
    'Whether every registered node has applied what the transaction changed; ask with the pg_current_xact_id() of a transaction that has committed. A node that died is waited for until another finds it silent, a minute later: a step of the database''s clock must not make it look lapsed.';

-- tenure.properties_follow: as in V7, but a statement that changed no row changes nothing: INSERT ... ON CONFLICT fires for
-- both, and a node that hears of two changes at once must assume limits between them that it never saw.
-- It validates relations, rewrites the policies, ends what is due, writes events and invalidations (P3, P5, A11).
create or replace function tenure.properties_follow() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp
    as $$
declare
    v_old      jsonb := '{}';
    v_new      jsonb := '{}';
    v_before   jsonb;
    v_after    jsonb;
    v_broken   record;
    v_policies tenure.policies[];
    v_name     text;
begin
    if tg_op in ('UPDATE', 'DELETE') then
        select coalesce(jsonb_object_agg(o.name, o.value), '{}') into v_old from old_properties o;
    end if;
    if tg_op in ('INSERT', 'UPDATE') then
        select coalesce(jsonb_object_agg(n.name, n.value), '{}') into v_new from new_properties n;
    end if;
    if v_old = '{}' and v_new = '{}' then
        return null;
    end if;

    -- Writers queue here, in one order; a writer with an older snapshot gets a serialization error instead of a stale verdict.
    perform from tenure.policies p order by p.kind for no key update;
    update tenure.policies p set revision = p.revision + 1;

    v_after  := tenure.property_rows();
    v_before := (v_after - array(select jsonb_object_keys(v_new))) || v_old;

    select b.* into v_broken
      from tenure.broken_relations(v_after) b
     where not (b.forceable and tenure.forced())
       and not exists (select from tenure.broken_relations(v_before) h where h.name = b.name and h.other = b.other)
     limit 1;
    if found then
        perform tenure.refuse(422, 'relation_broken', v_broken.message,
                              case when v_broken.forceable then 'Change the other property first, or force it: the earlier limit then wins.'
                                   else 'Change the other property first.' end);
    end if;

    select array_agg(p order by p.kind) into v_policies from tenure.policies p;
    update tenure.policies p
       set idle_seconds         = r.idle_seconds,
           max_life_seconds     = r.max_life_seconds,
           remember_me_seconds  = r.remember_me_seconds,
           residue_seconds      = r.residue_seconds,
           prompt_seconds       = r.prompt_seconds,
           auto_refresh_extends = r.auto_refresh_extends,
           refuse_inactive      = r.refuse_inactive,
           ajax_prompt          = r.ajax_prompt,
           ajax_resubmit        = r.ajax_resubmit
      from tenure.resolved_policies(v_after) r
     where r.kind = p.kind;
    perform tenure.settle_policy_change(v_policies);

    for v_name in select jsonb_object_keys(v_old || v_new) loop
        if v_old -> v_name is distinct from v_new -> v_name then
            perform tenure.note(case when v_new ? v_name then 'property_set' else 'property_removed' end, null, null,
                                jsonb_build_object('name', v_name, 'old', v_old -> v_name, 'new', v_new -> v_name));
        end if;
    end loop;
    insert into tenure.invalidations (kind) values ('p');
    return null;
end
$$;
