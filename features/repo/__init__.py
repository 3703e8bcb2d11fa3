"""Former names that Feast repositories on disk still import.

`alphaloop features repo` of releases before 0.2 wrote `features.repo.folder` into definitions.py and
`features.repo.redis_store` into feature_store.yaml. New code imports `features.store.feast`.
"""
