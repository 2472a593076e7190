-- Selective recovery of add_health_metrics_table: `stepback recover RUN --selective` brings back the scores that can be
-- relied upon, of businesses that are still active. All other rows stay in quarantine, counted.
--
-- Effect: none by itself. The first query says which rows come back, the second what the recovery reports.
-- Locks: ACCESS SHARE on health_metrics and businesses.
-- Transactional: yes; the choice is made in the transaction of the recovery, before its first lock.
-- Verified by: tests/integration/worker/test_document_plans.py, and the demo.

SELECT * FROM health_metrics
 WHERE confidence_level >= 80
   AND overall_score IS NOT NULL
   AND business_id IN (SELECT id FROM businesses WHERE status = 'ACTIVE');

SELECT count(*) AS total_recovered,
       round(avg(overall_score), 2) AS avg_score,
       min(calculated_at) AS oldest_data,
       max(calculated_at) AS newest_data
  FROM health_metrics;
