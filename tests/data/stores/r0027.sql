BEGIN TRANSACTION;
CREATE TABLE absences (
	job_id TEXT NOT NULL, 
	away TEXT NOT NULL, 
	since DATETIME NOT NULL, 
	until DATETIME NOT NULL, 
	why TEXT NOT NULL, 
	position INTEGER NOT NULL, 
	tries INTEGER NOT NULL, 
	waits BOOLEAN NOT NULL, 
	CONSTRAINT pk_absences PRIMARY KEY (job_id)
);
CREATE TABLE account_uids (
	service_id TEXT NOT NULL, 
	uid INTEGER NOT NULL, 
	given_at DATETIME NOT NULL, 
	CONSTRAINT pk_account_uids PRIMARY KEY (service_id), 
	CONSTRAINT uq_account_uids_uid UNIQUE (uid)
);
CREATE TABLE account_usage (
	service_id TEXT NOT NULL, 
	node TEXT NOT NULL, 
	at DATETIME NOT NULL, 
	bytes BIGINT NOT NULL, 
	inodes BIGINT NOT NULL, 
	database_bytes BIGINT NOT NULL, 
	cpu_seconds FLOAT NOT NULL, 
	cpu_reading FLOAT NOT NULL, 
	traffic JSON NOT NULL, 
	told JSON NOT NULL, 
	CONSTRAINT pk_account_usage PRIMARY KEY (service_id)
);
CREATE TABLE addresses (
	address TEXT NOT NULL, 
	range TEXT NOT NULL, 
	family INTEGER NOT NULL, 
	service_id TEXT NOT NULL, 
	job_id TEXT NOT NULL, 
	leased_at DATETIME NOT NULL, 
	released_at DATETIME, 
	proof TEXT DEFAULT '' NOT NULL, 
	CONSTRAINT pk_addresses PRIMARY KEY (address)
);
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0027');
CREATE TABLE application_versions (
    version_id TEXT NOT NULL PRIMARY KEY,
    version_name TEXT NOT NULL UNIQUE,
    version_timestamp INTEGER NOT NULL DEFAULT (strftime('%s','now') * 1000),
    created_at INTEGER NOT NULL DEFAULT (strftime('%s','now') * 1000)
, "application_name" TEXT DEFAULT NULL);
INSERT INTO "application_versions" VALUES('082b7e14-63c5-4a25-9881-3bf31b404f93','1',1795892435000,1795892435000,'orchestrator');
CREATE TABLE audit (
	seq INTEGER NOT NULL, 
	at DATETIME NOT NULL, 
	who TEXT NOT NULL, 
	what TEXT NOT NULL, 
	service_id TEXT DEFAULT '' NOT NULL, 
	job_id TEXT DEFAULT '' NOT NULL, 
	facts JSON NOT NULL, 
	previous_hash TEXT NOT NULL, 
	hash TEXT NOT NULL, 
	CONSTRAINT pk_audit PRIMARY KEY (seq), 
	CONSTRAINT uq_audit_hash UNIQUE (hash)
);
INSERT INTO "audit" VALUES(1,'2026-11-28 19:00:35.431768','billing shop','event','s0','j1m8hrfpf72b1ynd','{"event": "shop/evt-order.paid-s0-80d07bbc", "type": "order.paid", "outcome": "accepted", "detail": ""}','','ee31ab2897e4ea0df98487568d5478b9b8405e8f6ca1d16c179d6bae9fd029c4');
INSERT INTO "audit" VALUES(2,'2026-11-28 19:00:35.468545','billing shop','event','s1','j1m8hrfpgcyjn3yk','{"event": "shop/evt-order.paid-s1-c8c8eb5c", "type": "order.paid", "outcome": "accepted", "detail": ""}','ee31ab2897e4ea0df98487568d5478b9b8405e8f6ca1d16c179d6bae9fd029c4','a65af5a9c59d714af1883c666cc1751a2b1c7db2bc753007a2b66a9826381fab');
INSERT INTO "audit" VALUES(3,'2026-11-28 19:00:35.471740','billing shop','event','s2','j1m8hrfpgfamy0df','{"event": "shop/evt-order.paid-s2-ff8f76e5", "type": "order.paid", "outcome": "accepted", "detail": ""}','a65af5a9c59d714af1883c666cc1751a2b1c7db2bc753007a2b66a9826381fab','4492ad0f08fcb7eaa7ecde50fe082ea8a5d37525306194cd025b81e06916b84e');
INSERT INTO "audit" VALUES(4,'2026-11-28 19:00:35.474885','billing shop','event','s3','j1m8hrfpgj6a852b','{"event": "shop/evt-order.paid-s3-9751b158", "type": "order.paid", "outcome": "accepted", "detail": ""}','4492ad0f08fcb7eaa7ecde50fe082ea8a5d37525306194cd025b81e06916b84e','9fada037112647cbda9a3f8550db2eb774287575aa34946aeb06af83dc24a443');
INSERT INTO "audit" VALUES(5,'2026-11-28 19:00:35.477530','billing shop','event','s4','j1m8hrfpgnq39enr','{"event": "shop/evt-order.paid-s4-fe45110f", "type": "order.paid", "outcome": "accepted", "detail": ""}','9fada037112647cbda9a3f8550db2eb774287575aa34946aeb06af83dc24a443','06a019618722ba1423a4d9ee41a22a7436816b06001ea97a083065976f6d76c8');
INSERT INTO "audit" VALUES(6,'2026-11-28 19:00:35.479880','billing shop','event','s5','j1m8hrfpgqdggk3m','{"event": "shop/evt-order.paid-s5-83c07344", "type": "order.paid", "outcome": "accepted", "detail": ""}','06a019618722ba1423a4d9ee41a22a7436816b06001ea97a083065976f6d76c8','88161738b705a61babb65a9bdf715676ab4003f7295b8c98b8718b5974708c8b');
INSERT INTO "audit" VALUES(7,'2026-11-28 19:00:35.557375','orchestrator','policies adopted','','','{"changed": ["plan small"], "terminates": 0}','88161738b705a61babb65a9bdf715676ab4003f7295b8c98b8718b5974708c8b','0725db7bf41ab8d3aaabf2a4ba19ee4198fc83ea9ef7785e08d0da98f9a0fb99');
CREATE TABLE backups (
	id TEXT NOT NULL, 
	service_id TEXT NOT NULL, 
	job_id TEXT NOT NULL, 
	generation INTEGER NOT NULL, 
	state TEXT NOT NULL, 
	snapshot_id TEXT DEFAULT '' NOT NULL, 
	slot DATETIME, 
	begun_at DATETIME NOT NULL, 
	made_at DATETIME, 
	verified_at DATETIME, 
	forgotten_at DATETIME, 
	pruned_at DATETIME, 
	size_bytes BIGINT DEFAULT '0' NOT NULL, 
	inodes BIGINT DEFAULT '0' NOT NULL, 
	read_bytes BIGINT DEFAULT '0' NOT NULL, 
	stored_bytes BIGINT DEFAULT '0' NOT NULL, 
	consistency TEXT DEFAULT '' NOT NULL, 
	share TEXT DEFAULT '' NOT NULL, 
	problem TEXT DEFAULT '' NOT NULL, 
	left_out JSON DEFAULT '[]' NOT NULL, number INTEGER DEFAULT '0' NOT NULL, mark TEXT DEFAULT '' NOT NULL, 
	CONSTRAINT pk_backups PRIMARY KEY (id)
);
CREATE TABLE certificates (
	id TEXT NOT NULL, 
	service_id TEXT NOT NULL, 
	job_id TEXT NOT NULL, 
	certificate JSON NOT NULL, 
	created_at DATETIME NOT NULL, 
	CONSTRAINT pk_certificates PRIMARY KEY (id), 
	CONSTRAINT uq_certificates_job_id UNIQUE (job_id)
);
CREATE TABLE charges (
	id TEXT NOT NULL, 
	service_id TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	amount BIGINT NOT NULL, 
	quantity BIGINT NOT NULL, 
	reason TEXT NOT NULL, 
	clause TEXT NOT NULL, 
	policy TEXT NOT NULL, 
	job_id TEXT DEFAULT '' NOT NULL, 
	made_at DATETIME NOT NULL, 
	taken_back_at DATETIME, 
	why_taken_back TEXT DEFAULT '' NOT NULL, 
	by_operation BOOLEAN DEFAULT 0 NOT NULL, 
	times INTEGER DEFAULT '1' NOT NULL, 
	CONSTRAINT pk_charges PRIMARY KEY (id)
);
CREATE TABLE commands (
	service_id TEXT NOT NULL, 
	action TEXT NOT NULL, 
	version INTEGER NOT NULL, 
	source TEXT NOT NULL, 
	event_id TEXT NOT NULL, 
	CONSTRAINT pk_commands PRIMARY KEY (service_id, action, version)
);
CREATE TABLE controllers (
	id TEXT NOT NULL, 
	hostname TEXT NOT NULL, 
	pid INTEGER NOT NULL, 
	version TEXT NOT NULL, 
	place TEXT NOT NULL, 
	keys TEXT NOT NULL, 
	started_at DATETIME NOT NULL, 
	heartbeat_at DATETIME NOT NULL, 
	expires_at DATETIME NOT NULL, 
	ended_at DATETIME, 
	ending TEXT DEFAULT '' NOT NULL, 
	taken_over_at DATETIME, 
	CONSTRAINT pk_controllers PRIMARY KEY (id)
);
INSERT INTO "controllers" VALUES('c50674954a1de','vm',12312,'','19e4517a-3503-4685-a399-b423f97f0ee6/27/12056854','','2026-11-28 19:00:35.501332','2026-11-28 19:00:35.501332','2026-11-28 19:00:41.501332',NULL,'',NULL);
CREATE TABLE dbos_migrations (version INTEGER NOT NULL PRIMARY KEY);
INSERT INTO "dbos_migrations" VALUES(125);
CREATE TABLE deliveries (
	seq INTEGER NOT NULL, 
	message_id TEXT NOT NULL, 
	at DATETIME NOT NULL, 
	status INTEGER NOT NULL, 
	problem TEXT NOT NULL, 
	milliseconds INTEGER NOT NULL, 
	CONSTRAINT pk_deliveries PRIMARY KEY (seq)
);
CREATE TABLE deployment_tasks (
	machine TEXT NOT NULL, 
	job_id TEXT NOT NULL, 
	"key" TEXT NOT NULL, 
	number INTEGER NOT NULL, 
	kind TEXT NOT NULL, 
	arguments JSON NOT NULL, 
	arguments_sha256 TEXT NOT NULL, 
	state TEXT NOT NULL, 
	fraction FLOAT DEFAULT '0' NOT NULL, 
	says TEXT DEFAULT '' NOT NULL, 
	result JSON DEFAULT '{}' NOT NULL, 
	CONSTRAINT pk_deployment_tasks PRIMARY KEY (machine, job_id, "key")
);
CREATE TABLE deployments (
	number INTEGER NOT NULL, 
	machine TEXT NOT NULL, 
	job_id TEXT NOT NULL, 
	opened_at DATETIME NOT NULL, 
	claimed_at DATETIME, 
	heard_at DATETIME, 
	closed_at DATETIME, 
	medium_sha256 TEXT NOT NULL, 
	token_sha256 TEXT NOT NULL, 
	session_sha256 TEXT DEFAULT '' NOT NULL, 
	expected JSON NOT NULL, 
	network JSON NOT NULL, 
	inspection JSON, 
	refused TEXT DEFAULT '' NOT NULL, 
	refusals INTEGER DEFAULT '0' NOT NULL, 
	CONSTRAINT pk_deployments PRIMARY KEY (number), 
	CONSTRAINT uq_deployments_medium_sha256 UNIQUE (medium_sha256), 
	CONSTRAINT uq_deployments_token_sha256 UNIQUE (token_sha256)
);
CREATE TABLE drills (
	id TEXT NOT NULL, 
	service_id TEXT NOT NULL, 
	node TEXT NOT NULL, 
	backup_id TEXT NOT NULL, 
	week TEXT DEFAULT '' NOT NULL, 
	asked_by TEXT NOT NULL, 
	state TEXT NOT NULL, 
	begun_at DATETIME NOT NULL, 
	ended_at DATETIME, 
	why TEXT DEFAULT '' NOT NULL, 
	signature TEXT DEFAULT '' NOT NULL, 
	CONSTRAINT pk_drills PRIMARY KEY (id)
);
CREATE TABLE events (
	seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	source TEXT NOT NULL, 
	id TEXT NOT NULL, 
	body_sha256 TEXT NOT NULL, 
	body TEXT NOT NULL, 
	sent_at DATETIME NOT NULL, 
	received_at DATETIME NOT NULL, 
	type TEXT DEFAULT '' NOT NULL, 
	service_id TEXT DEFAULT '' NOT NULL, 
	version INTEGER, 
	outcome TEXT NOT NULL, 
	problem TEXT DEFAULT '' NOT NULL, 
	detail TEXT DEFAULT '' NOT NULL, 
	job_id TEXT DEFAULT '' NOT NULL, 
	replays INTEGER DEFAULT '0' NOT NULL, 
	CONSTRAINT uq_events_source_id UNIQUE (source, id)
);
INSERT INTO "events" VALUES(1,'shop','evt-order.paid-s0-80d07bbc','80d07bbc78b62681d0eb3bea7551187c735494cf81f64101203cc07a2baa6e93','{"data": {"client_id": "c1", "order_id": "o-s0", "plan": "small", "service_id": "s0"}, "type": "order.paid"}','2026-11-28 19:00:35.430665','2026-11-28 19:00:35.431768','order.paid','s0',NULL,'accepted','','','j1m8hrfpf72b1ynd',0);
INSERT INTO "events" VALUES(2,'shop','evt-order.paid-s1-c8c8eb5c','c8c8eb5cf6a4e0d8d23a52abc20fc9a4d14e1d71cb20e475802e76575a8b0678','{"data": {"client_id": "c1", "order_id": "o-s1", "plan": "small", "service_id": "s1"}, "type": "order.paid"}','2026-11-28 19:00:35.466080','2026-11-28 19:00:35.468545','order.paid','s1',NULL,'accepted','','','j1m8hrfpgcyjn3yk',0);
INSERT INTO "events" VALUES(3,'shop','evt-order.paid-s2-ff8f76e5','ff8f76e5f1469797fd5053d2b638bf699604c0fd2c660442eba12f3fc4568a76','{"data": {"client_id": "c1", "order_id": "o-s2", "plan": "small", "service_id": "s2"}, "type": "order.paid"}','2026-11-28 19:00:35.471591','2026-11-28 19:00:35.471740','order.paid','s2',NULL,'accepted','','','j1m8hrfpgfamy0df',0);
INSERT INTO "events" VALUES(4,'shop','evt-order.paid-s3-9751b158','9751b158d89671cf6f0bcf0e30227e49e117ce589e86daabe3d3b287cd7b86ab','{"data": {"client_id": "c1", "order_id": "o-s3", "plan": "small", "service_id": "s3"}, "type": "order.paid"}','2026-11-28 19:00:35.474761','2026-11-28 19:00:35.474885','order.paid','s3',NULL,'accepted','','','j1m8hrfpgj6a852b',0);
INSERT INTO "events" VALUES(5,'shop','evt-order.paid-s4-fe45110f','fe45110f1b06c5fc26b3db6ca2a1a8487ef7bec9cba6067299c4c9b2def556ac','{"data": {"client_id": "c1", "order_id": "o-s4", "plan": "small", "service_id": "s4"}, "type": "order.paid"}','2026-11-28 19:00:35.477437','2026-11-28 19:00:35.477530','order.paid','s4',NULL,'accepted','','','j1m8hrfpgnq39enr',0);
INSERT INTO "events" VALUES(6,'shop','evt-order.paid-s5-83c07344','83c07344823904100f9816f461d8a4c41809eb03ed1d75bf990897375aad582b','{"data": {"client_id": "c1", "order_id": "o-s5", "plan": "small", "service_id": "s5"}, "type": "order.paid"}','2026-11-28 19:00:35.479779','2026-11-28 19:00:35.479880','order.paid','s5',NULL,'accepted','','','j1m8hrfpgqdggk3m',0);
CREATE TABLE evidence (
	service_id TEXT NOT NULL, 
	sha256 TEXT NOT NULL, 
	name TEXT NOT NULL, 
	size INTEGER NOT NULL, 
	content BLOB NOT NULL, 
	added_at DATETIME NOT NULL, 
	"by" TEXT NOT NULL, 
	CONSTRAINT pk_evidence PRIMARY KEY (service_id, sha256)
);
CREATE TABLE fence_passes (
	service_id TEXT NOT NULL, 
	job_id TEXT NOT NULL, 
	act TEXT NOT NULL, 
	passed_at DATETIME NOT NULL, 
	CONSTRAINT pk_fence_passes PRIMARY KEY (service_id, job_id, act)
);
CREATE TABLE guest_traffic (
	service_id TEXT NOT NULL, 
	node TEXT NOT NULL, 
	at DATETIME NOT NULL, 
	run TEXT NOT NULL, 
	age_seconds FLOAT NOT NULL, 
	in_bytes BIGINT NOT NULL, 
	out_bytes BIGINT NOT NULL, 
	traffic JSON NOT NULL, 
	told JSON NOT NULL, 
	CONSTRAINT pk_guest_traffic PRIMARY KEY (service_id)
);
CREATE TABLE holds (
	service_id TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	effect TEXT NOT NULL, 
	"by" TEXT NOT NULL, 
	why TEXT NOT NULL, 
	evidence TEXT DEFAULT '' NOT NULL, 
	since DATETIME NOT NULL, 
	until DATETIME, complaint TEXT DEFAULT '' NOT NULL, invoice TEXT DEFAULT '' NOT NULL, 
	CONSTRAINT pk_holds PRIMARY KEY (service_id, reason)
);
CREATE TABLE idempotency_keys (
	who TEXT NOT NULL, 
	"key" TEXT NOT NULL, 
	request_sha256 TEXT NOT NULL, 
	status INTEGER NOT NULL, 
	answer JSON NOT NULL, 
	created_at DATETIME NOT NULL, 
	CONSTRAINT pk_idempotency_keys PRIMARY KEY (who, "key")
);
CREATE TABLE job_steps (
	job_id TEXT NOT NULL, 
	position INTEGER NOT NULL, 
	id TEXT NOT NULL, 
	step TEXT NOT NULL, 
	state TEXT NOT NULL, 
	args JSON, 
	facts JSON, 
	applied BOOLEAN DEFAULT 0 NOT NULL, 
	attempts INTEGER DEFAULT '0' NOT NULL, 
	progress FLOAT DEFAULT '0' NOT NULL, 
	message TEXT DEFAULT '' NOT NULL, 
	error_code TEXT DEFAULT '' NOT NULL, 
	error TEXT DEFAULT '' NOT NULL, 
	started_at DATETIME, 
	finished_at DATETIME, 
	CONSTRAINT pk_job_steps PRIMARY KEY (job_id, position)
);
INSERT INTO "job_steps" VALUES('j1m8hrfpf72b1ynd',0,'a','thing.make','running','{"name": "a"}',NULL,0,1,0.0,'','','','2026-11-28 19:00:35.674624',NULL);
INSERT INTO "job_steps" VALUES('j1m8hrfpf72b1ynd',1,'b','thing.make','pending','{"name": "b"}',NULL,0,0,0.0,'','','',NULL,NULL);
INSERT INTO "job_steps" VALUES('j1m8hrfpf72b1ynd',2,'c','thing.make','pending','{"name": "c"}',NULL,0,0,0.0,'','','',NULL,NULL);
INSERT INTO "job_steps" VALUES('j1m8hrfpgcyjn3yk',0,'a','thing.make','done','{"name": "a", "node": "n1", "of": "", "password_hash": "", "ssh_keys": []}','{"name": "a", "node": "n1", "by": "j1m8hrfpgcyjn3yk"}',1,1,1.0,'','','','2026-11-28 19:00:35.645981','2026-11-28 19:00:35.653967');
INSERT INTO "job_steps" VALUES('j1m8hrfpgcyjn3yk',1,'b','thing.make','running','{"name": "b", "node": "n1", "of": "", "password_hash": "", "ssh_keys": []}',NULL,1,1,0.0,'','','','2026-11-28 19:00:35.666720',NULL);
INSERT INTO "job_steps" VALUES('j1m8hrfpgcyjn3yk',2,'c','thing.make','pending','{"name": "c"}',NULL,0,0,0.0,'','','',NULL,NULL);
INSERT INTO "job_steps" VALUES('j1m8hrfpgfamy0df',0,'a','thing.make','done','{"name": "a", "node": "n1", "of": "", "password_hash": "", "ssh_keys": []}','{"name": "a", "node": "n1", "by": "j1m8hrfpgfamy0df"}',1,1,1.0,'','','','2026-11-28 19:00:35.643298','2026-11-28 19:00:35.652654');
INSERT INTO "job_steps" VALUES('j1m8hrfpgfamy0df',1,'b','thing.make','running','{"name": "b", "node": "n1", "of": "", "password_hash": "", "ssh_keys": []}',NULL,1,1,0.0,'','','','2026-11-28 19:00:35.658667',NULL);
INSERT INTO "job_steps" VALUES('j1m8hrfpgfamy0df',2,'c','thing.make','pending','{"name": "c"}',NULL,0,0,0.0,'','','',NULL,NULL);
INSERT INTO "job_steps" VALUES('j1m8hrfpgj6a852b',0,'a','thing.make','done','{"name": "a", "node": "n1", "of": "", "password_hash": "", "ssh_keys": []}','{"name": "a", "node": "n1", "by": "j1m8hrfpgj6a852b"}',1,1,1.0,'','','','2026-11-28 19:00:35.659678','2026-11-28 19:00:35.663519');
INSERT INTO "job_steps" VALUES('j1m8hrfpgj6a852b',1,'b','thing.make','done','{"name": "b", "node": "n1", "of": "", "password_hash": "", "ssh_keys": []}','{"name": "b", "node": "n1", "by": "j1m8hrfpgj6a852b"}',1,1,1.0,'','','','2026-11-28 19:00:35.675208','2026-11-28 19:00:35.676422');
INSERT INTO "job_steps" VALUES('j1m8hrfpgj6a852b',2,'c','thing.make','running','{"name": "c", "node": "n1", "of": "", "password_hash": "", "ssh_keys": []}',NULL,1,1,0.0,'','','','2026-11-28 19:00:35.677953',NULL);
CREATE TABLE jobs (
	id TEXT NOT NULL, 
	service_id TEXT NOT NULL, 
	intent TEXT NOT NULL, 
	playbook TEXT NOT NULL, 
	state TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	asked_by TEXT NOT NULL, 
	arguments JSON NOT NULL, 
	payments INTEGER NOT NULL, 
	run INTEGER DEFAULT '1' NOT NULL, 
	workflow JSON, 
	error_code TEXT DEFAULT '' NOT NULL, 
	error TEXT DEFAULT '' NOT NULL, 
	stop_requested BOOLEAN DEFAULT 0 NOT NULL, 
	approval_reason TEXT DEFAULT '' NOT NULL, 
	approved_by TEXT DEFAULT '' NOT NULL, 
	created_at DATETIME NOT NULL, 
	started_at DATETIME, 
	finished_at DATETIME, 
	CONSTRAINT pk_jobs PRIMARY KEY (id)
);
INSERT INTO "jobs" VALUES('j1m8hrfpf72b1ynd','s0','provision','vps-provision','running','the order is paid','event shop/evt-order.paid-s0-80d07bbc','{}',1,1,'{"format": 1, "playbook": "vps-provision", "service_id": "s0", "calls": [{"id": "a", "step": "thing.make", "args": {"name": "a"}, "on_failure": "undo", "destructive": false, "skipped": ""}, {"id": "b", "step": "thing.make", "args": {"name": "b"}, "on_failure": "undo", "destructive": false, "skipped": ""}, {"id": "c", "step": "thing.make", "args": {"name": "c"}, "on_failure": "undo", "destructive": false, "skipped": ""}]}','','',0,'','','2026-11-28 19:00:35.431768','2026-11-28 19:00:35.618859',NULL);
INSERT INTO "jobs" VALUES('j1m8hrfpgcyjn3yk','s1','provision','vps-provision','running','the order is paid','event shop/evt-order.paid-s1-c8c8eb5c','{}',1,1,'{"format": 1, "playbook": "vps-provision", "service_id": "s1", "calls": [{"id": "a", "step": "thing.make", "args": {"name": "a"}, "on_failure": "undo", "destructive": false, "skipped": ""}, {"id": "b", "step": "thing.make", "args": {"name": "b"}, "on_failure": "undo", "destructive": false, "skipped": ""}, {"id": "c", "step": "thing.make", "args": {"name": "c"}, "on_failure": "undo", "destructive": false, "skipped": ""}]}','','',0,'','','2026-11-28 19:00:35.468545','2026-11-28 19:00:35.626473',NULL);
INSERT INTO "jobs" VALUES('j1m8hrfpgfamy0df','s2','provision','vps-provision','running','the order is paid','event shop/evt-order.paid-s2-ff8f76e5','{}',1,1,'{"format": 1, "playbook": "vps-provision", "service_id": "s2", "calls": [{"id": "a", "step": "thing.make", "args": {"name": "a"}, "on_failure": "undo", "destructive": false, "skipped": ""}, {"id": "b", "step": "thing.make", "args": {"name": "b"}, "on_failure": "undo", "destructive": false, "skipped": ""}, {"id": "c", "step": "thing.make", "args": {"name": "c"}, "on_failure": "undo", "destructive": false, "skipped": ""}]}','','',0,'','','2026-11-28 19:00:35.471740','2026-11-28 19:00:35.629089',NULL);
INSERT INTO "jobs" VALUES('j1m8hrfpgj6a852b','s3','provision','vps-provision','running','the order is paid','event shop/evt-order.paid-s3-9751b158','{}',1,1,'{"format": 1, "playbook": "vps-provision", "service_id": "s3", "calls": [{"id": "a", "step": "thing.make", "args": {"name": "a"}, "on_failure": "undo", "destructive": false, "skipped": ""}, {"id": "b", "step": "thing.make", "args": {"name": "b"}, "on_failure": "undo", "destructive": false, "skipped": ""}, {"id": "c", "step": "thing.make", "args": {"name": "c"}, "on_failure": "undo", "destructive": false, "skipped": ""}]}','','',0,'','','2026-11-28 19:00:35.474885','2026-11-28 19:00:35.630467',NULL);
INSERT INTO "jobs" VALUES('j1m8hrfpgnq39enr','s4','provision','vps-provision','queued','the order is paid','event shop/evt-order.paid-s4-fe45110f','{}',1,1,NULL,'','',0,'','','2026-11-28 19:00:35.477530',NULL,NULL);
INSERT INTO "jobs" VALUES('j1m8hrfpgqdggk3m','s5','provision','vps-provision','queued','the order is paid','event shop/evt-order.paid-s5-83c07344','{}',1,1,NULL,'','',0,'','','2026-11-28 19:00:35.479880',NULL,NULL);
CREATE TABLE machines (
	name TEXT NOT NULL, 
	state TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	service_id TEXT NOT NULL, 
	job_id TEXT NOT NULL, 
	certificate_sha256 TEXT NOT NULL, 
	uuid TEXT NOT NULL, 
	inspection JSON, 
	enrolled_at DATETIME, 
	changed_at DATETIME, 
	up BOOLEAN NOT NULL, 
	seen_at DATETIME, 
	told JSON NOT NULL, 
	problem TEXT NOT NULL, 
	CONSTRAINT pk_machines PRIMARY KEY (name)
);
CREATE TABLE macs (
	mac TEXT NOT NULL, 
	service_id TEXT NOT NULL, 
	job_id TEXT NOT NULL, 
	leased_at DATETIME NOT NULL, 
	released_at DATETIME, 
	proof TEXT DEFAULT '' NOT NULL, 
	CONSTRAINT pk_macs PRIMARY KEY (mac)
);
CREATE TABLE moving_reservations (
	service_id TEXT NOT NULL, 
	job_id TEXT NOT NULL, 
	node TEXT NOT NULL, 
	vcpus INTEGER NOT NULL, 
	memory_bytes BIGINT NOT NULL, 
	disk_bytes BIGINT NOT NULL, 
	CONSTRAINT pk_moving_reservations PRIMARY KEY (service_id)
);
CREATE TABLE node_slots (
	node TEXT NOT NULL, 
	slot INTEGER NOT NULL, 
	job_id TEXT NOT NULL, 
	token TEXT NOT NULL, 
	expires_at DATETIME NOT NULL, 
	CONSTRAINT pk_node_slots PRIMARY KEY (node, slot)
);
CREATE TABLE node_statements (
	id TEXT NOT NULL, 
	node TEXT NOT NULL, 
	statement JSON NOT NULL, 
	created_at DATETIME NOT NULL, 
	CONSTRAINT pk_node_statements PRIMARY KEY (id)
);
CREATE TABLE nodes (
	name TEXT NOT NULL, 
	host_key TEXT DEFAULT '' NOT NULL, 
	agent_version TEXT DEFAULT '' NOT NULL, 
	agent_sha256 TEXT DEFAULT '' NOT NULL, 
	enrolled_at DATETIME, 
	up BOOLEAN DEFAULT 0 NOT NULL, 
	seen_at DATETIME, 
	facts JSON NOT NULL, 
	problem TEXT DEFAULT '' NOT NULL, drained_at DATETIME, drained_by TEXT DEFAULT '' NOT NULL, drained_why TEXT DEFAULT '' NOT NULL, announced JSON, lost_at DATETIME, lost_by TEXT DEFAULT '' NOT NULL, lost_why TEXT DEFAULT '' NOT NULL, lost_statement TEXT DEFAULT '' NOT NULL, 
	CONSTRAINT pk_nodes PRIMARY KEY (name)
);
INSERT INTO "nodes" VALUES('n1','ssh-ed25519 simulated-n1','fake','0000000000000000000000000000000000000000000000000000000000000000','2026-11-28 19:00:35.407987',1,'2026-11-28 19:00:35.407987','{"hostname": "n1", "cpus": 512, "memory_bytes": 4398046511104, "pool_capacity_bytes": 1125899906842624, "pool_available_bytes": 1125899369971712, "accelerated": true, "libvirt_version": "9.0.0", "hypervisor_version": "7.2.0", "guests": 0, "pool_path": "/var/lib/orchestrator/pool", "pool_data_percent": null, "pool_metadata_percent": null, "details": {}}','',NULL,'','',NULL,NULL,'','','');
CREATE TABLE notifications (
    message_uuid TEXT NOT NULL DEFAULT (hex(randomblob(16))) PRIMARY KEY,
    destination_uuid TEXT NOT NULL,
    topic TEXT,
    message TEXT NOT NULL,
    created_at_epoch_ms INTEGER NOT NULL DEFAULT (strftime('%s','now') * 1000), "serialization" TEXT DEFAULT NULL, "consumed" BOOLEAN NOT NULL DEFAULT FALSE, consumed_by_function_id INTEGER,
    FOREIGN KEY (destination_uuid) REFERENCES workflow_status(workflow_uuid) 
        ON UPDATE CASCADE ON DELETE CASCADE
);
CREATE TABLE occurrences (
	service_id TEXT NOT NULL, 
	action TEXT NOT NULL, 
	occurrence TEXT NOT NULL, 
	attempts INTEGER NOT NULL, 
	first_at DATETIME NOT NULL, 
	last_at DATETIME NOT NULL, 
	job_id TEXT DEFAULT '' NOT NULL, 
	message_id TEXT DEFAULT '' NOT NULL, 
	CONSTRAINT pk_occurrences PRIMARY KEY (service_id, action, occurrence)
);
CREATE TABLE "operation_outputs" (
    workflow_uuid TEXT NOT NULL,
    function_id INTEGER NOT NULL,
    function_name TEXT NOT NULL DEFAULT '',
    output TEXT,
    error TEXT,
    child_workflow_id TEXT,
    started_at_epoch_ms INTEGER,
    completed_at_epoch_ms INTEGER,
    serialization TEXT,
    application_name TEXT DEFAULT NULL,
    retention_timestamp INTEGER NOT NULL DEFAULT (strftime('%s','now') * 1000),
    PRIMARY KEY (workflow_uuid, function_id)
);
INSERT INTO "operation_outputs" VALUES('j1m8hrfpgfamy0df.1',1,'resolve','{"state":"go"}',NULL,NULL,1795892435609,1795892435633,'orchestrator_json','orchestrator',1795892435000);
INSERT INTO "operation_outputs" VALUES('j1m8hrfpgcyjn3yk.1',1,'resolve','{"state":"go"}',NULL,NULL,1795892435608,1795892435633,'orchestrator_json','orchestrator',1795892435000);
INSERT INTO "operation_outputs" VALUES('j1m8hrfpgfamy0df.1',2,'a#1','{"facts":{"by":"j1m8hrfpgfamy0df","name":"a","node":"n1"},"finished_at":"2026-11-28T19:00:35.652654+00:00","state":"done"}',NULL,NULL,1795892435637,1795892435652,'orchestrator_json','orchestrator',1795892435000);
INSERT INTO "operation_outputs" VALUES('j1m8hrfpgj6a852b.1',1,'resolve','{"state":"go"}',NULL,NULL,1795892435612,1795892435636,'orchestrator_json','orchestrator',1795892435000);
INSERT INTO "operation_outputs" VALUES('j1m8hrfpgcyjn3yk.1',2,'a#1','{"facts":{"by":"j1m8hrfpgcyjn3yk","name":"a","node":"n1"},"finished_at":"2026-11-28T19:00:35.653967+00:00","state":"done"}',NULL,NULL,1795892435641,1795892435654,'orchestrator_json','orchestrator',1795892435000);
INSERT INTO "operation_outputs" VALUES('j1m8hrfpgfamy0df.1',3,'b#1','{"facts":{"by":"j1m8hrfpgfamy0df","name":"b","node":"n1"},"finished_at":"2026-11-28T19:00:35.661812+00:00","state":"done"}',NULL,NULL,1795892435654,1795892435661,'orchestrator_json','orchestrator',1795892435000);
INSERT INTO "operation_outputs" VALUES('j1m8hrfpf72b1ynd.1',1,'resolve','{"state":"go"}',NULL,NULL,1795892435605,1795892435632,'orchestrator_json','orchestrator',1795892435000);
INSERT INTO "operation_outputs" VALUES('j1m8hrfpgj6a852b.1',2,'a#1','{"facts":{"by":"j1m8hrfpgj6a852b","name":"a","node":"n1"},"finished_at":"2026-11-28T19:00:35.663519+00:00","state":"done"}',NULL,NULL,1795892435656,1795892435663,'orchestrator_json','orchestrator',1795892435000);
INSERT INTO "operation_outputs" VALUES('j1m8hrfpgj6a852b.1',3,'b#1','{"facts":{"by":"j1m8hrfpgj6a852b","name":"b","node":"n1"},"finished_at":"2026-11-28T19:00:35.676422+00:00","state":"done"}',NULL,NULL,1795892435673,1795892435676,'orchestrator_json','orchestrator',1795892435000);
INSERT INTO "operation_outputs" VALUES('j1m8hrfpgj6a852b.1',4,'c#1','{"facts":{"by":"j1m8hrfpgj6a852b","name":"c","node":"n1"},"finished_at":"2026-11-28T19:00:35.679097+00:00","state":"done"}',NULL,NULL,1795892435677,1795892435679,'orchestrator_json','orchestrator',1795892435000);
CREATE TABLE "outbox" (
	id TEXT NOT NULL, 
	type TEXT NOT NULL, 
	service_id TEXT NOT NULL, 
	body TEXT NOT NULL, 
	created_at DATETIME NOT NULL, 
	attempts INTEGER DEFAULT '0' NOT NULL, 
	next_attempt_at DATETIME, 
	taken_at DATETIME, 
	last_status INTEGER DEFAULT '0' NOT NULL, 
	last_problem TEXT DEFAULT '' NOT NULL, 
	tries INTEGER DEFAULT '0' NOT NULL, 
	tried_since DATETIME, 
	dead_at DATETIME, 
	CONSTRAINT pk_outbox PRIMARY KEY (id)
);
CREATE TABLE queues (
    queue_id TEXT PRIMARY KEY DEFAULT (hex(randomblob(16))),
    name TEXT NOT NULL UNIQUE,
    concurrency INTEGER,
    worker_concurrency INTEGER,
    rate_limit_max INTEGER,
    rate_limit_period_sec REAL,
    priority_enabled BOOLEAN NOT NULL DEFAULT FALSE,
    partition_queue BOOLEAN NOT NULL DEFAULT FALSE,
    polling_interval_sec REAL NOT NULL DEFAULT 1.0,
    created_at INTEGER NOT NULL DEFAULT (strftime('%s','now') * 1000),
    updated_at INTEGER NOT NULL DEFAULT (strftime('%s','now') * 1000)
, "application_name" TEXT DEFAULT NULL, "partition_concurrency" INTEGER DEFAULT NULL, "partition_worker_concurrency" INTEGER DEFAULT NULL, "partition_rate_limit_max" INTEGER DEFAULT NULL, "partition_rate_limit_period_sec" REAL DEFAULT NULL);
INSERT INTO "queues" VALUES('11F1B8405A1FC43CDF1AF2C1CB33CA43','jobs',NULL,4,NULL,NULL,1,0,0.05,1795892435000,1795892435506,'orchestrator',NULL,NULL,NULL,NULL);
CREATE TABLE repositories (
	service_id TEXT NOT NULL, 
	number INTEGER NOT NULL, 
	target TEXT NOT NULL, 
	wrapped_key BLOB NOT NULL, 
	made_at DATETIME NOT NULL, 
	state TEXT NOT NULL, 
	why TEXT DEFAULT '' NOT NULL, 
	damaged_at DATETIME, 
	destroyed_at DATETIME, 
	CONSTRAINT pk_repositories PRIMARY KEY (service_id, number)
);
CREATE TABLE reservations (
	service_id TEXT NOT NULL, 
	job_id TEXT NOT NULL, 
	node TEXT NOT NULL, 
	vcpus INTEGER NOT NULL, 
	memory_bytes BIGINT NOT NULL, 
	disk_bytes BIGINT NOT NULL, 
	CONSTRAINT pk_reservations PRIMARY KEY (service_id)
);
CREATE TABLE restores (
	service_id TEXT NOT NULL, 
	id TEXT NOT NULL, 
	snapshot_id TEXT NOT NULL, 
	size_bytes BIGINT NOT NULL, 
	asked_by TEXT NOT NULL, 
	counted_at DATETIME NOT NULL, 
	state TEXT NOT NULL, 
	job_id TEXT DEFAULT '' NOT NULL, 
	charge_id TEXT DEFAULT '' NOT NULL, 
	given_back_at DATETIME, 
	why TEXT DEFAULT '' NOT NULL, 
	done_at DATETIME, 
	CONSTRAINT pk_restores PRIMARY KEY (service_id, id)
);
CREATE TABLE service_locks (
	service_id TEXT NOT NULL, 
	job_id TEXT NOT NULL, 
	token TEXT NOT NULL, 
	taken_at DATETIME NOT NULL, 
	CONSTRAINT pk_service_locks PRIMARY KEY (service_id)
);
INSERT INTO "service_locks" VALUES('s0','j1m8hrfpf72b1ynd','aba6f2e7f775f84c9a87b554f0a88275','2026-11-28 19:00:35.617383');
INSERT INTO "service_locks" VALUES('s1','j1m8hrfpgcyjn3yk','77368fbd4b7cf135b597a0d2ae4fa0d5','2026-11-28 19:00:35.626325');
INSERT INTO "service_locks" VALUES('s2','j1m8hrfpgfamy0df','9547f0572ac107840be7ab3493321c6a','2026-11-28 19:00:35.628968');
INSERT INTO "service_locks" VALUES('s3','j1m8hrfpgj6a852b','5c7f356cb6df568bd719b0c6182c97df','2026-11-28 19:00:35.630361');
CREATE TABLE service_nodes (
	service_id TEXT NOT NULL, 
	node TEXT NOT NULL, 
	since DATETIME NOT NULL, 
	CONSTRAINT pk_service_nodes PRIMARY KEY (service_id, node)
);
CREATE TABLE "services" (
	id TEXT NOT NULL, 
	client_id TEXT NOT NULL, 
	"plan" TEXT NOT NULL, 
	state TEXT NOT NULL, 
	version INTEGER NOT NULL, 
	order_id TEXT NOT NULL, 
	domain TEXT NOT NULL, 
	hostname TEXT NOT NULL, 
	template TEXT NOT NULL, 
	ssh_keys JSON NOT NULL, 
	password_hash TEXT NOT NULL, 
	zone TEXT NOT NULL, 
	due_at DATETIME, 
	paid_until DATETIME, 
	payments INTEGER NOT NULL, 
	refunds JSON NOT NULL, 
	overdue_at DATETIME, 
	paid_at DATETIME, 
	created_at DATETIME NOT NULL, 
	point_of_no_return DATETIME, 
	suspension_proven_at DATETIME, 
	node TEXT DEFAULT ('') NOT NULL, 
	facts JSON NOT NULL, 
	next_due_at DATETIME, 
	limited_proven_at DATETIME, 
	chargebacks JSON DEFAULT '[]' NOT NULL, 
	disputes JSON DEFAULT '[]' NOT NULL, 
	traffic JSON DEFAULT '[]' NOT NULL, 
	cut_off_at DATETIME, 
	cut_off_paid BOOLEAN DEFAULT 0 NOT NULL, 
	activated_at DATETIME, 
	ended_at DATETIME, 
	archived_at DATETIME, 
	purchased_at DATETIME, 
	forgotten_at DATETIME, 
	cancellation JSON, 
	complaints JSON DEFAULT '[]' NOT NULL, 
	domain_expired_at DATETIME, 
	domain_renewed_at DATETIME, 
	lapsed_at DATETIME, 
	backups_seen_to DATETIME, 
	backup_asked_at DATETIME, 
	kept JSON DEFAULT '[]' NOT NULL, 
	account JSON, 
	databases_full BOOLEAN DEFAULT 0 NOT NULL, restart JSON, mail_out BOOLEAN, 
	CONSTRAINT pk_services PRIMARY KEY (id)
);
INSERT INTO "services" VALUES('s0','c1','small','provisioning',0,'o-s0','','','','[]','','',NULL,NULL,1,'[]',NULL,'2026-11-28 19:00:35.430665','2026-11-28 19:00:35.431768',NULL,NULL,'','{}',NULL,NULL,'[]','[]','[]',NULL,0,NULL,NULL,NULL,'2026-11-28 19:00:35.430665',NULL,NULL,'[]',NULL,NULL,NULL,NULL,NULL,'[]',NULL,0,NULL,NULL);
INSERT INTO "services" VALUES('s1','c1','small','provisioning',0,'o-s1','','','','[]','','',NULL,NULL,1,'[]',NULL,'2026-11-28 19:00:35.466080','2026-11-28 19:00:35.468545',NULL,NULL,'','{}',NULL,NULL,'[]','[]','[]',NULL,0,NULL,NULL,NULL,'2026-11-28 19:00:35.466080',NULL,NULL,'[]',NULL,NULL,NULL,NULL,NULL,'[]',NULL,0,NULL,NULL);
INSERT INTO "services" VALUES('s2','c1','small','provisioning',0,'o-s2','','','','[]','','',NULL,NULL,1,'[]',NULL,'2026-11-28 19:00:35.471591','2026-11-28 19:00:35.471740',NULL,NULL,'','{}',NULL,NULL,'[]','[]','[]',NULL,0,NULL,NULL,NULL,'2026-11-28 19:00:35.471591',NULL,NULL,'[]',NULL,NULL,NULL,NULL,NULL,'[]',NULL,0,NULL,NULL);
INSERT INTO "services" VALUES('s3','c1','small','provisioning',0,'o-s3','','','','[]','','',NULL,NULL,1,'[]',NULL,'2026-11-28 19:00:35.474761','2026-11-28 19:00:35.474885',NULL,NULL,'','{}',NULL,NULL,'[]','[]','[]',NULL,0,NULL,NULL,NULL,'2026-11-28 19:00:35.474761',NULL,NULL,'[]',NULL,NULL,NULL,NULL,NULL,'[]',NULL,0,NULL,NULL);
INSERT INTO "services" VALUES('s4','c1','small','provisioning',0,'o-s4','','','','[]','','',NULL,NULL,1,'[]',NULL,'2026-11-28 19:00:35.477437','2026-11-28 19:00:35.477530',NULL,NULL,'','{}',NULL,NULL,'[]','[]','[]',NULL,0,NULL,NULL,NULL,'2026-11-28 19:00:35.477437',NULL,NULL,'[]',NULL,NULL,NULL,NULL,NULL,'[]',NULL,0,NULL,NULL);
INSERT INTO "services" VALUES('s5','c1','small','provisioning',0,'o-s5','','','','[]','','',NULL,NULL,1,'[]',NULL,'2026-11-28 19:00:35.479779','2026-11-28 19:00:35.479880',NULL,NULL,'','{}',NULL,NULL,'[]','[]','[]',NULL,0,NULL,NULL,NULL,'2026-11-28 19:00:35.479779',NULL,NULL,'[]',NULL,NULL,NULL,NULL,NULL,'[]',NULL,0,NULL,NULL);
CREATE TABLE settings (
	name TEXT NOT NULL, 
	value JSON NOT NULL, 
	changed_at DATETIME NOT NULL, 
	CONSTRAINT pk_settings PRIMARY KEY (name)
);
INSERT INTO "settings" VALUES('audit-head','{"seq": 7, "hash": "0725db7bf41ab8d3aaabf2a4ba19ee4198fc83ea9ef7785e08d0da98f9a0fb99"}','2026-11-28 19:00:35.557375');
INSERT INTO "settings" VALUES('deadlines looked at','"2026-11-28T19:00:35.548406+00:00"','2026-11-28 19:00:35.548406');
INSERT INTO "settings" VALUES('deadline turns',1,'2026-11-28 19:00:35.548406');
INSERT INTO "settings" VALUES('tariffs','{"small": [{"since": "2026-11-28T19:00:35.556361+00:00", "policy": "silent", "traffic_bytes": null, "traffic_over_per_gb": 0, "traffic_clause": "", "per_hour": 0, "minimum_hours": 0, "hourly_clause": ""}]}','2026-11-28 19:00:35.556361');
INSERT INTO "settings" VALUES('policies adopted','{"policies": {}, "plans": {"small": "default"}}','2026-11-28 19:00:35.557375');
INSERT INTO "settings" VALUES('looks compared','{"at": "2026-11-28T19:00:35.598584+00:00", "compared": 6, "differing": 0}','2026-11-28 19:00:35.598584');
CREATE TABLE site_certificates (
	job_id TEXT NOT NULL, 
	service_id TEXT NOT NULL, 
	certificate TEXT NOT NULL, 
	wrapped_key BLOB NOT NULL, 
	CONSTRAINT pk_site_certificates PRIMARY KEY (job_id)
);
CREATE TABLE state_copies (
	id TEXT NOT NULL, 
	job_id TEXT NOT NULL, 
	generation INTEGER NOT NULL, 
	state TEXT NOT NULL, 
	snapshot_id TEXT DEFAULT '' NOT NULL, 
	begun_at DATETIME NOT NULL, 
	made_at DATETIME, 
	verified_at DATETIME, 
	forgotten_at DATETIME, 
	pruned_at DATETIME, 
	size_bytes BIGINT DEFAULT '0' NOT NULL, 
	inodes BIGINT DEFAULT '0' NOT NULL, 
	stored_bytes BIGINT DEFAULT '0' NOT NULL, 
	share TEXT DEFAULT '' NOT NULL, 
	problem TEXT DEFAULT '' NOT NULL, 
	number INTEGER NOT NULL, 
	left_out JSON DEFAULT '[]' NOT NULL, 
	CONSTRAINT pk_state_copies PRIMARY KEY (id)
);
CREATE TABLE state_repositories (
	number INTEGER NOT NULL, 
	target TEXT NOT NULL, 
	made_at DATETIME NOT NULL, 
	state TEXT NOT NULL, 
	why TEXT DEFAULT '' NOT NULL, 
	damaged_at DATETIME, 
	destroyed_at DATETIME, 
	CONSTRAINT pk_state_repositories PRIMARY KEY (number)
);
CREATE TABLE streams (
    workflow_uuid TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    "offset" INTEGER NOT NULL, function_id INTEGER NOT NULL DEFAULT 0, "serialization" TEXT DEFAULT NULL,
    PRIMARY KEY (workflow_uuid, key, "offset"),
    FOREIGN KEY (workflow_uuid) REFERENCES workflow_status(workflow_uuid) 
        ON UPDATE CASCADE ON DELETE CASCADE
);
CREATE TABLE tokens (
	name TEXT NOT NULL, 
	role TEXT NOT NULL, 
	token_sha256 TEXT NOT NULL, 
	created_at DATETIME NOT NULL, 
	revoked_at DATETIME, expires_at DATETIME, 
	CONSTRAINT pk_tokens PRIMARY KEY (name), 
	CONSTRAINT uq_tokens_token_sha256 UNIQUE (token_sha256)
);
CREATE TABLE workflow_events (
    workflow_uuid TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL, "serialization" TEXT DEFAULT NULL,
    PRIMARY KEY (workflow_uuid, key),
    FOREIGN KEY (workflow_uuid) REFERENCES workflow_status(workflow_uuid) 
        ON UPDATE CASCADE ON DELETE CASCADE
);
CREATE TABLE workflow_events_history (
    workflow_uuid TEXT NOT NULL,
    function_id INTEGER NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL, "serialization" TEXT DEFAULT NULL,
    PRIMARY KEY (workflow_uuid, function_id, key),
    FOREIGN KEY (workflow_uuid) REFERENCES workflow_status(workflow_uuid)
        ON UPDATE CASCADE ON DELETE CASCADE
);
CREATE TABLE workflow_input (
    workflow_uuid TEXT NOT NULL PRIMARY KEY,
    inputs TEXT,
    retention_timestamp INTEGER NOT NULL DEFAULT (strftime('%s','now') * 1000)
);
INSERT INTO "workflow_input" VALUES('j1m8hrfpf72b1ynd.1','{"args":["j1m8hrfpf72b1ynd",1],"kwargs":{}}',1795892435000);
INSERT INTO "workflow_input" VALUES('j1m8hrfpgcyjn3yk.1','{"args":["j1m8hrfpgcyjn3yk",1],"kwargs":{}}',1795892435000);
INSERT INTO "workflow_input" VALUES('j1m8hrfpgfamy0df.1','{"args":["j1m8hrfpgfamy0df",1],"kwargs":{}}',1795892435000);
INSERT INTO "workflow_input" VALUES('j1m8hrfpgj6a852b.1','{"args":["j1m8hrfpgj6a852b",1],"kwargs":{}}',1795892435000);
INSERT INTO "workflow_input" VALUES('j1m8hrfpgnq39enr.1','{"args":["j1m8hrfpgnq39enr",1],"kwargs":{}}',1795892435000);
INSERT INTO "workflow_input" VALUES('j1m8hrfpgqdggk3m.1','{"args":["j1m8hrfpgqdggk3m",1],"kwargs":{}}',1795892435000);
CREATE TABLE workflow_output (
    workflow_uuid TEXT NOT NULL PRIMARY KEY,
    output TEXT,
    error TEXT,
    retention_timestamp INTEGER NOT NULL DEFAULT (strftime('%s','now') * 1000)
);
CREATE TABLE workflow_schedules (
    schedule_id TEXT PRIMARY KEY,
    schedule_name TEXT NOT NULL UNIQUE,
    workflow_name TEXT NOT NULL,
    workflow_class_name TEXT,
    schedule TEXT NOT NULL,
    status TEXT NOT NULL DEFAULT 'ACTIVE',
    context TEXT NOT NULL
, "last_fired_at" TEXT DEFAULT NULL, "automatic_backfill" BOOLEAN NOT NULL DEFAULT FALSE, "cron_timezone" TEXT DEFAULT NULL, "queue_name" TEXT DEFAULT NULL, "application_name" TEXT DEFAULT NULL);
CREATE TABLE workflow_status (
    workflow_uuid TEXT PRIMARY KEY,
    status TEXT,
    name TEXT,
    authenticated_user TEXT,
    assumed_role TEXT,
    authenticated_roles TEXT,
    request TEXT,
    output TEXT,
    error TEXT,
    executor_id TEXT,
    created_at INTEGER NOT NULL DEFAULT (strftime('%s','now') * 1000),
    updated_at INTEGER NOT NULL DEFAULT (strftime('%s','now') * 1000),
    application_version TEXT,
    application_id TEXT,
    class_name TEXT DEFAULT NULL,
    config_name TEXT DEFAULT NULL,
    recovery_attempts INTEGER DEFAULT 0,
    queue_name TEXT,
    workflow_timeout_ms INTEGER,
    workflow_deadline_epoch_ms INTEGER,
    inputs TEXT,
    started_at_epoch_ms INTEGER,
    deduplication_id TEXT,
    priority INTEGER NOT NULL DEFAULT 0
, queue_partition_key TEXT, forked_from TEXT, "owner_xid" TEXT DEFAULT NULL, "parent_workflow_id" TEXT DEFAULT NULL, "serialization" TEXT DEFAULT NULL, "delay_until_epoch_ms" BIGINT DEFAULT NULL, "was_forked_from" BOOLEAN NOT NULL DEFAULT FALSE, "rate_limited" BOOLEAN NOT NULL DEFAULT FALSE, "completed_at" BIGINT, "attributes" TEXT, "schedule_name" TEXT, "debounce_deadline_epoch_ms" BIGINT DEFAULT NULL, "is_debounced" BOOLEAN NOT NULL DEFAULT FALSE, "application_name" TEXT DEFAULT NULL, "creator_xid" TEXT DEFAULT NULL);
INSERT INTO "workflow_status" VALUES('j1m8hrfpf72b1ynd.1','PENDING','run-job',NULL,NULL,NULL,NULL,NULL,NULL,'controller',1795892435000,1795892435000,'1',NULL,NULL,NULL,1,'jobs',NULL,NULL,NULL,1795892435000,NULL,28666835,NULL,NULL,'5358a73b-ea45-4599-b4ae-87e7e1d028ac',NULL,'orchestrator_json',NULL,0,0,NULL,'null',NULL,NULL,0,'orchestrator','9e9dc039-268e-49a6-accd-32da94916de7');
INSERT INTO "workflow_status" VALUES('j1m8hrfpgcyjn3yk.1','PENDING','run-job',NULL,NULL,NULL,NULL,NULL,NULL,'controller',1795892435000,1795892435000,'1',NULL,NULL,NULL,1,'jobs',NULL,NULL,NULL,1795892435000,NULL,28666835,NULL,NULL,'5358a73b-ea45-4599-b4ae-87e7e1d028ac',NULL,'orchestrator_json',NULL,0,0,NULL,'null',NULL,NULL,0,'orchestrator','eaa56346-bd57-4348-9822-91f10f177fa6');
INSERT INTO "workflow_status" VALUES('j1m8hrfpgfamy0df.1','PENDING','run-job',NULL,NULL,NULL,NULL,NULL,NULL,'controller',1795892435000,1795892435000,'1',NULL,NULL,NULL,1,'jobs',NULL,NULL,NULL,1795892435000,NULL,28666835,NULL,NULL,'5358a73b-ea45-4599-b4ae-87e7e1d028ac',NULL,'orchestrator_json',NULL,0,0,NULL,'null',NULL,NULL,0,'orchestrator','067ca7d6-d6d9-4209-bd36-f58f9976ddd4');
INSERT INTO "workflow_status" VALUES('j1m8hrfpgj6a852b.1','PENDING','run-job',NULL,NULL,NULL,NULL,NULL,NULL,'controller',1795892435000,1795892435000,'1',NULL,NULL,NULL,1,'jobs',NULL,NULL,NULL,1795892435000,NULL,28666835,NULL,NULL,'5358a73b-ea45-4599-b4ae-87e7e1d028ac',NULL,'orchestrator_json',NULL,0,0,NULL,'null',NULL,NULL,0,'orchestrator','7c38f3e2-bd16-4dd4-ad98-aba2f969bc40');
INSERT INTO "workflow_status" VALUES('j1m8hrfpgnq39enr.1','ENQUEUED','run-job',NULL,NULL,NULL,NULL,NULL,NULL,NULL,1795892435000,1795892435000,'1',NULL,NULL,NULL,0,'jobs',NULL,NULL,NULL,NULL,NULL,28666835,NULL,NULL,NULL,NULL,'orchestrator_json',NULL,0,0,NULL,'null',NULL,NULL,0,'orchestrator','69cebcc6-c258-40bc-9737-2e29304d2a2f');
INSERT INTO "workflow_status" VALUES('j1m8hrfpgqdggk3m.1','ENQUEUED','run-job',NULL,NULL,NULL,NULL,NULL,NULL,NULL,1795892435000,1795892435000,'1',NULL,NULL,NULL,0,'jobs',NULL,NULL,NULL,NULL,NULL,28666835,NULL,NULL,NULL,NULL,'orchestrator_json',NULL,0,0,NULL,'null',NULL,NULL,0,'orchestrator','0d3fa834-8665-4869-b902-16d8e2b7af38');
CREATE INDEX ix_events_outcome ON events (outcome);
CREATE INDEX ix_events_service_id ON events (service_id);
CREATE INDEX ix_jobs_service_id ON jobs (service_id);
CREATE INDEX ix_jobs_state ON jobs (state);
CREATE INDEX ix_reservations_node ON reservations (node);
CREATE INDEX ix_addresses_service_id ON addresses (service_id);
CREATE INDEX ix_macs_service_id ON macs (service_id);
CREATE UNIQUE INDEX uq_macs_service_id_held ON macs (service_id) WHERE released_at IS NULL;
CREATE INDEX ix_certificates_service_id ON certificates (service_id);
CREATE INDEX ix_audit_service_id ON audit (service_id);
CREATE TRIGGER audit_refuses_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;
CREATE TRIGGER audit_refuses_delete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;
CREATE INDEX ix_outbox_service_id ON outbox (service_id);
CREATE INDEX ix_outbox_next_attempt_at ON outbox (next_attempt_at);
CREATE INDEX ix_outbox_taken_at ON outbox (taken_at);
CREATE INDEX ix_outbox_dead_at ON outbox (dead_at);
CREATE INDEX ix_outbox_created_at_id ON outbox (created_at, id);
CREATE INDEX ix_deliveries_message_id ON deliveries (message_id);
CREATE INDEX ix_charges_service_id ON charges (service_id);
CREATE INDEX ix_charges_job_id ON charges (job_id);
CREATE INDEX ix_jobs_created_at_let_through ON jobs (created_at, intent) WHERE approval_reason = '';
CREATE INDEX ix_jobs_started_at_let_through ON jobs (started_at, intent) WHERE approval_reason = '';
CREATE INDEX ix_backups_job_id ON backups (job_id);
CREATE INDEX ix_backups_service_id_begun_at ON backups (service_id, begun_at);
CREATE INDEX ix_restores_job_id ON restores (job_id);
CREATE INDEX ix_drills_node_week ON drills (node, week);
CREATE INDEX ix_services_next_due_at ON services (next_due_at);
CREATE INDEX ix_services_plan ON services ("plan");
CREATE INDEX ix_services_node ON services (node);
CREATE INDEX ix_services_state ON services (state);
CREATE INDEX ix_site_certificates_service_id ON site_certificates (service_id);
CREATE INDEX ix_machines_service_id ON machines (service_id);
CREATE INDEX ix_deployments_machine ON deployments (machine);
CREATE INDEX ix_deployments_session_sha256 ON deployments (session_sha256);
CREATE INDEX ix_moving_reservations_node ON moving_reservations (node);
CREATE INDEX ix_node_statements_node ON node_statements (node);
CREATE INDEX workflow_status_created_at_index ON workflow_status (created_at);
CREATE INDEX idx_workflow_topic ON notifications (destination_uuid, topic);
CREATE INDEX "idx_workflow_status_delayed" ON "workflow_status" ("delay_until_epoch_ms") WHERE status = 'DELAYED';
CREATE INDEX "idx_workflow_status_forked_from" ON "workflow_status" ("forked_from") WHERE "forked_from" IS NOT NULL;
CREATE INDEX "idx_workflow_status_parent_workflow_id" ON "workflow_status" ("parent_workflow_id") WHERE "parent_workflow_id" IS NOT NULL;
CREATE UNIQUE INDEX "uq_workflow_status_dedup_id" ON "workflow_status" ("queue_name", "deduplication_id") WHERE "deduplication_id" IS NOT NULL;
CREATE INDEX "idx_workflow_status_pending" ON "workflow_status" ("created_at") WHERE "status" = 'PENDING';
CREATE INDEX "idx_workflow_status_failed" ON "workflow_status" ("status", "created_at") WHERE "status" IN ('ERROR', 'CANCELLED', 'MAX_RECOVERY_ATTEMPTS_EXCEEDED');
CREATE INDEX "idx_workflow_status_rate_limited" ON "workflow_status" ("queue_name", "started_at_epoch_ms") WHERE "rate_limited" = TRUE;
CREATE INDEX "idx_workflow_status_completed_at" ON "workflow_status" ("completed_at") WHERE "completed_at" IS NOT NULL;
CREATE INDEX "idx_workflow_status_started_at" ON "workflow_status" ("started_at_epoch_ms") WHERE "started_at_epoch_ms" IS NOT NULL;
CREATE INDEX "idx_workflow_status_schedule_name" ON "workflow_status" ("schedule_name") WHERE "schedule_name" IS NOT NULL;
CREATE UNIQUE INDEX "uq_application_versions_owner_version"
    ON application_versions ("application_name", "version_name")
    WHERE "application_name" IS NOT NULL;
CREATE UNIQUE INDEX "uq_application_versions_unclaimed_version"
    ON application_versions ("version_name")
    WHERE "application_name" IS NULL;
CREATE INDEX idx_workflow_input_retention
    ON workflow_input (retention_timestamp);
CREATE INDEX idx_workflow_output_retention
    ON workflow_output (retention_timestamp);
CREATE INDEX idx_operation_outputs_retention
    ON operation_outputs (retention_timestamp);
CREATE INDEX "idx_workflow_status_in_flight_v2" ON "workflow_status" ("queue_name", "status", "priority", "created_at", "application_name") WHERE "status" IN ('ENQUEUED', 'PENDING');
CREATE INDEX "idx_workflow_status_partition_dequeue_v3" ON "workflow_status" ("queue_name", "status", "queue_partition_key", "priority", "created_at", "workflow_uuid", "application_name") WHERE "status" IN ('ENQUEUED', 'PENDING') AND "queue_partition_key" IS NOT NULL;
CREATE INDEX "idx_operation_outputs_completed_at_function_name_v2" ON "operation_outputs" ("completed_at_epoch_ms", "function_name", "application_name");
CREATE INDEX "idx_workflow_status_deadline" ON "workflow_status" ("workflow_deadline_epoch_ms") WHERE "status" IN ('ENQUEUED', 'PENDING', 'DELAYED') AND "workflow_deadline_epoch_ms" IS NOT NULL;
CREATE INDEX "idx_application_versions_timestamp" ON "application_versions" ("version_timestamp" DESC);
CREATE INDEX "idx_application_versions_owner_timestamp" ON "application_versions" ("application_name", "version_timestamp" DESC);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('events',6);
COMMIT;
