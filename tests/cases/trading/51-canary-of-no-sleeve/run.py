import sys; sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lib import *
# neighbour of argo-rollouts' weights: a share that rounds to no sleeve is refused or served, not called a canary
from alphaloop.rollout_document import RolloutDocument, RolloutState
from alphaloop.sleeve_plan import plan_sleeves, sleeve_names
from alphaloop.settings.rollout import RolloutSettings
out = {}
for w in (.01, .02, .025, .05, .074, .125):
    try: RolloutSettings(weights=(w, .5))
    except Exception: out[w] = "refused"; continue
    out[w] = len(plan_sleeves(RolloutDocument(model="m", champion="1", challenger="2", state=RolloutState.CANARY, weight=w, salt="s"), sleeve_names(20)).canary)
verdict(all(v == "refused" or v >= 1 for v in out.values()), f"rollout.weights accepted, and sleeves of 20 that the challenger gets: {out}")
