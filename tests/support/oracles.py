"""Slow definitions. Each says what a fast algorithm of the library must give, as plainly as Python can."""

import itertools
import math
from collections import Counter

import numpy as np


def cosine(a, b):
    a, b = [float(x) for x in a], [float(x) for x in b]
    dot = math.fsum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(math.fsum(x * x for x in a)) / math.sqrt(math.fsum(y * y for y in b))


def monosemanticity(activations, embeddings, drawn=None):
    """Paper v3 Eq. 5-9 for one neuron, pair by pair; ``drawn`` lists the images of a bootstrap resample.

    Different copies of the same image are not a pair. The minimum and maximum are those of the full set.
    """
    low, high = float(min(activations)), float(max(activations))
    drawn = range(len(activations)) if drawn is None else drawn
    if len({n for n in drawn if activations[n] > low}) < 2:
        return math.nan
    scaled = [(float(a) - low) / (high - low) for a in activations]
    pairs = [(n, m) for n, m in itertools.combinations(drawn, 2) if n != m]
    relevance = [scaled[n] * scaled[m] for n, m in pairs]
    similar = [r * cosine(embeddings[n], embeddings[m]) for r, (n, m) in zip(relevance, pairs, strict=True) if r]
    return math.fsum(similar) / math.fsum(relevance)


def top_images(activations, image_ids, k):
    """Ids and activations of the k largest that fire; equals rank by the smaller id."""
    above = min(0.0, float(min(activations)))
    firing = [(float(a), int(i)) for a, i in zip(activations, image_ids, strict=True) if a > above]
    ranked = sorted(firing, key=lambda pair: (-pair[0], pair[1]))[:k]
    missing = k - len(ranked)
    return [i for _, i in ranked] + [-1] * missing, [a for a, _ in ranked] + [0.0] * missing


def firing_rate(activations):
    above = min(0.0, float(min(activations)))
    return sum(a > above for a in activations) / len(activations)


def jaccard(a, b):
    a, b = set(a), set(b)
    return len(a & b) / len(a | b)


def lca_depth(path_a, path_b):
    """Walk down from the root while both go the same way."""
    depth = 0
    for a, b in zip(path_a, path_b, strict=False):
        if a != b:
            break
        depth += 1
    return depth


def neuron_depth(paths, reduce):
    depths = [lca_depth(a, b) for a, b in itertools.combinations(paths, 2)]
    if reduce == "mode":
        return Counter(depths).most_common(1)[0][0]  # among ties Counter keeps the one met first
    mean = sum(depths) / len(depths)
    return mean if reduce == "mean" else round(mean)


def r2(x, x_hat):
    mean = x.mean(axis=0)
    return 1 - sum(((a - b) ** 2).sum() for a, b in zip(x, x_hat, strict=True)) / sum(
        ((a - mean) ** 2).sum() for a in x
    )


def r2_paper(x, x_hat, batch=4096):
    """Paper v3 Tab. A9 as its code has it: variances per batch, short last batch dropped unless it is the only one."""
    starts = range(0, len(x), batch) if len(x) < batch else range(0, len(x) - batch + 1, batch)
    values = []
    for start in starts:
        a, b = x[start : start + batch], x_hat[start : start + batch]
        values.append(1 - np.var(a - b, axis=0, ddof=1).sum() / np.var(a, axis=0, ddof=1).sum())
    return float(np.mean(values))


def best_threshold_f1(activations, truth):
    """Largest F1 over all rules "activation > t"."""
    best = 0.0
    for threshold in [-math.inf, *activations]:
        said = activations > threshold
        hits = int((said & truth).sum())
        if hits:
            best = max(best, 2 * hits / (int(said.sum()) + int(truth.sum())))
    return best


def auroc(activations, truth):
    """Share of (true, false) image pairs in which the true image has the larger activation; equals count half."""
    wins = [(a > b) + 0.5 * (a == b) for a in activations[truth] for b in activations[~truth]]
    return float(np.mean(wins)) if wins else math.nan


def best_f1(values, labels):
    """The best F1 of one latent as a detector of one concept, over all thresholds "value > t", t ≥ 0."""
    best = 0.0
    for t in [0.0, *(v for v in values if v > 0)]:
        hits = sum(1 for v, y in zip(values, labels, strict=True) if v > t and y)
        predicted, positives = sum(1 for v in values if v > t), sum(map(bool, labels))
        if predicted:
            best = max(best, 2 * hits / (predicted + positives))
    return best


def steered_states(x, encode, decode, latents, keep_error):
    """Paper v3 Eq. 10 token by token: x' = decode(z'), plus x - decode(z) where the error is kept."""
    edited = x.clone()
    for picture in range(x.shape[0]):
        for token in range(x.shape[1]):
            z = encode(x[picture, token][None])[0]
            changed = z.clone()
            for latent, strength in latents.items():
                changed[latent] = strength
            edited[picture, token] = decode(changed[None])[0]
            if keep_error:
                edited[picture, token] += x[picture, token] - decode(z[None])[0]
    return edited


def monosemanticity_loss(latents, x):
    """MonoLoss pair by pair: min-max within the batch, the weighted mean cosine of each latent, 1 − their mean.

    Takes and gives torch tensors, so that autograd differentiates it. 0 where no latent has two samples above its
    minimum.
    """
    scores = []
    for column in latents.T:
        low, high = column.amin(), column.amax()
        if int((column > low).sum()) < 2:
            continue
        scaled = (column - low) / (high - low)
        pairs = list(itertools.combinations(range(len(column)), 2))
        relevance = [scaled[n] * scaled[m] for n, m in pairs]
        alike = [(x[n] / x[n].norm()) @ (x[m] / x[m].norm()) for n, m in pairs]
        scores.append(sum(r * s for r, s in zip(relevance, alike, strict=True)) / sum(relevance))
    return 1 - sum(scores) / len(scores) if scores else 0 * latents.sum()


def seeds_outermost(values_by_seed, seed=0, n_resamples=300):
    """The interval of old for a mean over trainings: seeds are drawn, then values within each; the middle 95 %.

    Kept to show what was wrong with it: of three seeds it holds the truth too seldom.
    """
    rng, values = np.random.default_rng(seed), np.asarray(values_by_seed)
    n_seeds, n = values.shape
    seeds = rng.integers(n_seeds, size=(n_resamples, n_seeds, 1))
    return np.quantile(values[seeds, rng.integers(n, size=(n_resamples, n_seeds, n))].mean(axis=(1, 2)), [0.025, 0.975])


def at_rates(values, fires):
    """The set of pictures that each direction keeps: as many as the latent of its rank among the latents fires on.

    Ranked are directions by how often they fire when as many of all positive values stay as are handed out.
    """
    pictures, width, latents = len(values), len(values[0]), sorted(map(int, fires), reverse=True)
    places = [0 if width == 1 else round(rank * (len(latents) - 1) / (width - 1)) for rank in range(width)]
    wanted = [latents[place] for place in places]
    entries = [(values[i][j], j) for i in range(pictures) for j in range(width) if values[i][j] > 0]
    busy = Counter(j for _, j in sorted(entries, reverse=True)[: sum(wanted)])
    peak = [max(values[i][j] for i in range(pictures)) for j in range(width)]
    kept = {}
    for rank, j in enumerate(sorted(range(width), key=lambda j: (-busy[j], -peak[j]))):
        best = sorted(range(pictures), key=lambda i: (-values[i][j], i))[: wanted[rank]]
        kept[j] = {i for i in best if values[i][j] > 0}
    return [kept[j] for j in range(width)]


def matching_pursuit(latents, truth, k):
    """k latents for one value, each time the one that correlates best with what the best sum of those before leaves."""
    columns, left, chosen = (latents - latents.mean(axis=0)).T, truth - truth.mean(), []
    for _ in range(k):
        best, place = 1e-9, -1
        for i, column in enumerate(columns):
            if i not in chosen and column.std() > 1e-9:
                goes_with = abs(float(np.mean(column * left))) / column.std()
                if goes_with > best:
                    best, place = goes_with, i
        if place < 0:
            break
        chosen.append(place)
        weights = np.linalg.lstsq(columns[chosen].T, truth - truth.mean(), rcond=None)[0]
        left = truth - truth.mean() - weights @ columns[chosen]
    return chosen


def cause_and_isolation(before, after, facts, known, factor, value):
    """RAVEL's two numbers, picture by picture; answers are words.

    Args:
        before, after: one dictionary of answers for each picture, before and after its own value was taken out.
        facts: the truth of each picture. known: that of others, which tells what entails what.
    """
    gone, same = [], []
    for said, now, fact in zip(before, after, facts, strict=True):
        if fact[factor] == value == said[factor]:
            gone.append(now[factor] != value)
            for other in said:
                shown = [known_fact for known_fact in known if known_fact[other] == fact[other]]
                entails = bool(shown) and all(known_fact[factor] == value for known_fact in shown)
                if other != factor and not entails:
                    same.append(now[other] == said[other])
    return (float(np.mean(part)) if part else math.nan for part in (gone, same))


def best_matching(similarity):
    """Of all ways to pair rows with columns one to one that of the largest sum, as pairs in the order of the rows."""
    n, m = len(similarity), len(similarity[0])
    if n <= m:
        ways = ([(i, j) for i, j in enumerate(columns)] for columns in itertools.permutations(range(m), n))
    else:
        ways = (sorted((i, j) for j, i in enumerate(rows)) for rows in itertools.permutations(range(n), m))
    return max(ways, key=lambda pairs: math.fsum(similarity[i][j] for i, j in pairs))


def pearson(a, b):
    """Correlation of two lists; NaN where one is constant."""
    means = [math.fsum(map(float, side)) / len(side) for side in (a, b)]
    a, b = ([float(x) - mean for x in side] for side, mean in zip((a, b), means, strict=True))
    length = math.sqrt(math.fsum(x * x for x in a) * math.fsum(y * y for y in b))
    return math.fsum(x * y for x, y in zip(a, b, strict=True)) / length if length else math.nan


def detection(fires, truth):
    """Precision, recall and F1 of "it fires" for "it is true"; NaN where there is nothing to divide by."""
    hits = sum(1 for f, t in zip(fires, truth, strict=True) if f and t)
    said, shown = sum(map(bool, fires)), sum(map(bool, truth))
    ratios = ((hits, said), (hits, shown), (2 * hits, said + shown))
    return [a / b if b else math.nan for a, b in ratios]


def over_pairs(table):
    """Mean over the pairs of some trainings, and Tukey's pseudo-value of each training, by leaving it out."""
    def mean(members):
        pairs = list(itertools.combinations(members, 2))
        return math.fsum((table[i][j] + table[j][i]) / 2 for i, j in pairs) / len(pairs)

    n = len(table)
    whole = mean(range(n))
    return whole, [n * whole - (n - 1) * mean([k for k in range(n) if k != i]) for i in range(n)]
