-- Effect: canonical_json does the same with less work: it calls itself for what is nested only.
-- Locks:  none on tables.
-- Transactional: yes, with its Alembic revision.
-- Verified by: tests/integration/ledger/test_audit_append.py

-- A call costs more than what it does for a text or a truth value: those are printed where they are met.
CREATE OR REPLACE FUNCTION ledger.canonical_json(value jsonb) RETURNS text
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    CASE jsonb_typeof(value)
        WHEN 'object' THEN
            RETURN '{' || coalesce((
                SELECT string_agg(
                           to_json(key)::text || ':'
                           || CASE WHEN jsonb_typeof(member) IN ('string', 'boolean', 'null')
                                   THEN member::text ELSE ledger.canonical_json(member) END,
                           ',' ORDER BY key COLLATE "C")
                FROM jsonb_each(value) AS members (key, member)), '') || '}';
        WHEN 'array' THEN
            RETURN '[' || coalesce((
                SELECT string_agg(ledger.canonical_json(item), ',' ORDER BY place)
                FROM jsonb_array_elements(value) WITH ORDINALITY AS items (item, place)), '') || ']';
        WHEN 'number' THEN
            -- How a fraction is printed differs between languages: a hash must not depend on it.
            IF value::text !~ '^(0|-?[1-9][0-9]*)$' THEN
                RAISE EXCEPTION 'canonical JSON holds whole numbers only' USING ERRCODE = 'invalid_parameter_value';
            END IF;
            RETURN value::text;
        ELSE
            RETURN value::text;
    END CASE;
END
$$;
