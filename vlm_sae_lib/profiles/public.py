"""The profiles of public models and pictures: CLIP, DINOv2 and a LLaVA of a size that their machines can hold.

``light`` is for a machine without a GPU, ``colab`` for one with 16 GB, ``paper`` has the paper's exact settings.
"""

from vlm_sae_lib.profiles.settings import Profile, SteeringSize

# Public weights, each pinned to a commit: what a run read stays what it was.
CLIP_L = "hf:openai/clip-vit-large-patch14-336@ce19dc912ca5cd21c8a653c79e251e808ccabcd1"
CLIP_B32 = "hf:openai/clip-vit-base-patch32@3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268"
CLIP_B16 = "hf:openai/clip-vit-base-patch16@57c216476eefef5ab752ec549e440a49ae4ae5f3"
DINO_B = "hf:facebook/dinov2-base@f9e44c814b77203eaa57a6bdbbd535f21ede1415"
DINO_S = "hf:facebook/dinov2-small@ed25f3a31f01632728cabb09d1542f84ab7b0056"
LLAVA = "hf:llava-hf/llava-1.5-7b-hf@b234b804b114d9e37bb655e11cbbb5f5e971b7a9"
SMALL_LLAVA = "hf:llava-hf/llava-onevision-qwen2-0.5b-ov-hf@74dd0bf867a4cda7950c17663794267c60cf4b40"
SMOLVLM = "hf:HuggingFaceTB/SmolVLM-500M-Instruct@a7da5b986cb59b408707209984f360a5f4ad7e47"
AUTHORS = "mateuszpach/sae-for-vlm"

PUBLIC = {
    "light": Profile(
        name="light",
        tower=CLIP_B32,
        scoring_towers=(("DINOv2", DINO_S), ("CLIP-B/16", CLIP_B16)),
        vlm=SMOLVLM,
        train_pictures="inat2021-sample:2700:train",
        choosing_pictures="inat2021-sample:2700:choosing:500",
        test_pictures="inat2021-sample:2700:test:500",
        hook_points=("block_5", "block_9", "block_11", "projection"),
        main_hook_point="block_11",
        steering_hook_point=None,
        expansions=(0.25, 0.5, 1),
        main_expansion=1,
        k=16,
        steps=800,
        batch_size=512,
        lr=1e-3,
        lr_decay=0.3,
        taxonomy_expansion=1,
        taxonomy_k=16,
        steering_pictures=400,
        steering_tokens="random:80",
        steering_expansion=2,
        steering_choosing=60,
        steering_scored=40,
        steering=SteeringSize(
            concepts=2, candidates=2, multiples=(1, 3), choosing=3, test=5, repetitions=1, trial=2, doses=(0.5, 1, 3),
            dose_test=3, dose_repetitions=1, suppressed=1, suppress_choosing=2, suppress_test=3, shown=3,
            shown_pictures=1, shown_multiples=(-1, 0, 1, 2, 4),
        ),
    ),
    "colab": Profile(
        name="colab",
        tower=CLIP_L,
        scoring_towers=(("DINOv2", DINO_B), ("CLIP-B/32", CLIP_B32)),
        vlm=LLAVA,
        train_pictures="inat2021-sample:3600:train",
        choosing_pictures="inat2021-sample:3600:choosing:1000",
        test_pictures="inat2021-sample:3600:test:1000",
        hook_points=("block_11", "block_22", "block_23", "projection"),
        main_hook_point="block_23",
        steering_hook_point=None,
        expansions=(0.25, 0.5, 1),
        main_expansion=1,
        steps=1000,
        batch_size=1024,
        lr=1e-3,
        lr_decay=0.3,
        taxonomy_expansion=1,
        steering_pictures=3000,
        steering_tokens="random:32",
        steering_expansion=4,
        steering_choosing=100,
        steering_scored=40,
        steering=SteeringSize(
            concepts=3, candidates=2, multiples=(1, 3), choosing=3, test=5, repetitions=1, trial=2, doses=(0.5, 1, 3),
            dose_test=3, dose_repetitions=1, suppressed=1, suppress_choosing=2, suppress_test=4, shown=3,
            shown_pictures=2, shown_multiples=(-1, 0, 1, 2, 4),
        ),
        vlm_bits=4,
        vlm_gpu_gib=8.0,
        smaller_vlm=SMALL_LLAVA,
        released_saes=AUTHORS,
        half_on_gpu=True,
    ),
    "paper": Profile(
        name="paper",
        tower=CLIP_L,
        scoring_towers=(("DINOv2", DINO_B), ("CLIP-B/32", CLIP_B32)),
        vlm=LLAVA,
        train_pictures="imagenet:imagenet/train",
        choosing_pictures="imagenet:imagenet/train",
        test_pictures="imagenet:imagenet/val",
        hook_points=("block_11", "block_17", "block_22", "block_23", "projection"),
        main_hook_point="projection",
        steering_hook_point="block_22",
        expansions=(1, 2, 4, 8, 16, 64),
        taxonomy_train="inat2021:inat2021/train",
        taxonomy_test="inat2021:inat2021/val",
        vlm_gpu_gib=18.0,
        released_saes=AUTHORS,
        half_on_gpu=True,
    ),
}
