-- Effect: creates the databases of docker-compose.yml, stepback_ledger and goodbuy_hq, and the roles of an installation,
--         with passwords from the environment of psql. The image runs it once, on an empty volume, as the superuser.
-- Locks:  none.
-- Transactional: no, CREATE DATABASE cannot be. Begin anew after an error: docker compose down --volumes.
-- Verified by: tests/integration/test_compose.py, which holds it to stepback/embedded/roles.py

\set ON_ERROR_STOP on
\getenv ledger_password LEDGER_PASSWORD
\getenv target_password TARGET_PASSWORD
\getenv application_password APPLICATION_PASSWORD

-- Whatever the server logs, no statement with a password in it.
SET log_statement = 'none';
SET log_min_error_statement = 'panic';
SET log_min_duration_statement = -1;

CREATE ROLE stepback_owner NOLOGIN;
CREATE ROLE stepback_app LOGIN PASSWORD :'ledger_password';
CREATE ROLE goodbuy_app LOGIN PASSWORD :'application_password';
CREATE ROLE stepback_worker LOGIN PASSWORD :'target_password';
GRANT goodbuy_app TO stepback_worker;

-- The ledger is nobody else's business.
CREATE DATABASE stepback_ledger OWNER stepback_owner TEMPLATE template0 ENCODING 'UTF8';
REVOKE ALL ON DATABASE stepback_ledger FROM PUBLIC;
GRANT CONNECT ON DATABASE stepback_ledger TO stepback_app;

-- Last: the service is healthy once this one lets somebody in.
CREATE DATABASE goodbuy_hq OWNER goodbuy_app TEMPLATE template0 ENCODING 'UTF8';
