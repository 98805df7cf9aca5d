"""The live model's graphs, run by the native onnxruntime on one thread, as the page runs them in a browser."""

import numpy as np
import onnxruntime


class NativeModel:
    def __init__(self, files: dict[str, bytes]):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._sessions = {
            name.removesuffix(".onnx"): onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
            for name, file in files.items()
        }
        self.nothing_read = np.zeros((8, 6, 0, 32), np.float32)

    def run(self, name: str, given: dict[str, np.ndarray]) -> list[np.ndarray]:
        return self._sessions[name].run(None, given)

    def see(self, pixels: np.ndarray) -> None:
        """pixels: (64, 64, 3) bytes."""
        values = (pixels.astype(np.float32) / 255 - 0.5) / 0.3
        self.states, self.latents = self.run("tower", {"pixels": values.transpose(2, 0, 1)[None].astype(np.float32)})

    def features(self, latent, strength, *, keep_error=False, direction=None) -> np.ndarray:
        chosen = np.zeros(self.latents.shape[1], bool)
        if latent is not None:
            chosen[latent] = True
        given = {
            "states": self.states, "latents": self.latents, "chosen": chosen,
            "strength": np.array(strength, np.float32), "keep_error": np.array(keep_error),
            "pushed": np.array(direction is not None),
            "direction": np.zeros(self.states.shape[1], np.float32) if direction is None else direction,
        }  # fmt: skip
        return self.run("edit", given)[0]

    def prompt(self, vlm, question: str) -> tuple[list[int], list[int]]:
        ids = vlm.processor.tokenizer(vlm.chat(question))["input_ids"]
        picture = ids.index(vlm.model.config.image_token_id)
        return ids[:picture], ids[picture + 1 :]

    def read(self, before, features, after, cache) -> list[np.ndarray]:
        ids = {"before": np.array([before], np.int64), "after": np.array([after], np.int64)}
        return self.run("language", ids | {"features": features, "cache": cache})

    def answer(self, vlm, question, latent=None, strength=0.0, *, keep_error=False, direction=None):
        """(the answer, the scores of each word)."""
        features = self.features(latent, strength, keep_error=keep_error, direction=direction)
        words, scores, cache = [], [], self.nothing_read
        (before, after) = self.prompt(vlm, question)
        while len(words) < 32:
            told, cache = self.read(before, features, after, cache)
            scores.append(told)
            if (word := int(told.argmax())) == vlm.processor.tokenizer.eos_token_id:
                break
            words.append(word)
            before, features, after = [], features[:, :0], [word]
        return vlm.decode([words])[0], scores
