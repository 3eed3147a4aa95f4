"""A provider's promises as stories: one test a rule, named by its clause, from the webhook to the end of the job, on a clock
that the test puts forward. The policies are the shipped files."""
