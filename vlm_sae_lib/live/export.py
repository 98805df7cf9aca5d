"""The pocket LLaVA as three ONNX graphs, with the shipped SAE at its hook point, from the files of the repository."""

from dataclasses import dataclass

import onnx

from vlm_sae_lib import paths
from vlm_sae_lib.files import read_json
from vlm_sae_lib.live.edit import edit_graph
from vlm_sae_lib.live.language import language_graph
from vlm_sae_lib.live.tower import tower_graph
from vlm_sae_lib.live.weights import Weights
from vlm_sae_lib.sae import SparseAutoencoder


@dataclass(frozen=True)
class LiveModel:
    """A picture goes through ``tower``, an edit and the projector through ``edit``, a prompt through ``language``."""

    tower: onnx.ModelProto
    edit: onnx.ModelProto
    language: onnx.ModelProto

    def files(self) -> dict[str, bytes]:
        graphs = {"tower": self.tower, "edit": self.edit, "language": self.language}
        return {f"{name}.onnx": graph.SerializeToString(deterministic=True) for name, graph in graphs.items()}


def export() -> LiveModel:
    """The graphs of the pocket LLaVA; the same files always give the same graphs."""
    folder = paths.pocket() / "llava"
    config, weights = read_json(folder / "config.json"), Weights.read(folder / "model.safetensors")
    sae, vision = SparseAutoencoder.load(paths.pocket() / "sae" / "steering"), config["vision_config"]
    # hidden state 0 is what goes into the first block, so that state −2 is what all blocks but the last have made
    n_blocks = vision["num_hidden_layers"] + 1 + config["vision_feature_layer"]
    return LiveModel(
        tower=tower_graph(weights.under("vision_tower"), vision, n_blocks, sae),
        edit=edit_graph(weights.under("multi_modal_projector"), sae, config["image_seq_length"] + 1),
        language=language_graph(weights.under("language_model"), config["text_config"]),
    )
