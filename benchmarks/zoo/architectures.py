"""Other people's architectures with random weights: torchvision's, timm's and transformers', one or two of each family.

Weights come from a seed. Norms and layer scales are drawn away from their initial values (1, 0, 1e-5), since a net at
its initial values hides errors: half its branches do nothing. Batch norms then take the statistics of a few random
items, or a deep net forgets its input.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["NETS", "Net", "pictures"]

TORCHVISION = """
alexnet vgg11 resnet18 resnext50_32x4d wide_resnet50_2 squeezenet1_1 densenet121 googlenet inception_v3
mobilenet_v2 mobilenet_v3_small mnasnet0_5 shufflenet_v2_x0_5 efficientnet_b0 efficientnet_v2_s regnet_y_400mf
convnext_tiny vit_b_32 swin_t swin_v2_t maxvit_t
"""
TIMM = """
resnet26d resnetv2_50x1_bit resnest14d skresnet18 seresnet50 res2net50_26w_4s nf_resnet26 dla34 dpn48b
hrnet_w18_small cspresnet50 vovnet39a selecsls42 tresnet_m xception41 inception_resnet_v2 nasnetalarge
pnasnet5large ghostnet_100 mixnet_s lcnet_050 hardcorenas_a rexnet_100 repvgg_a0 mobileone_s0 repvit_m0_9
repghostnet_050 fasternet_t0 starnet_s1 hgnet_tiny mambaout_femto convmixer_768_32 convnextv2_atto
inception_next_atto edgenext_xx_small poolformer_s12 mixer_s32_224 resmlp_12_224 gmlp_ti16_224
vit_tiny_patch16_224 deit_tiny_distilled_patch16_224 vit_tiny_r_s16_p8_224 vit_relpos_small_patch16_224
beit_base_patch16_224 eva02_tiny_patch14_224 cait_xxs24_224 xcit_nano_12_p16_224 pit_ti_224
tnt_s_legacy_patch16_224 convit_tiny crossvit_9_240 coat_tiny levit_128s visformer_tiny
swin_tiny_patch4_window7_224 swinv2_cr_tiny_224 twins_pcpvt_small pvt_v2_b0 nest_tiny_jx davit_tiny gcvit_xxtiny
mvitv2_tiny hiera_tiny_224 hieradet_small maxvit_rmlp_pico_rw_256 coatnet_pico_rw_224 mobilevit_xxs
mobilevitv2_050 efficientformer_l1 efficientformerv2_s0 efficientvit_b0 efficientvit_m0 fastvit_t8
swiftformer_xs shvit_s1 nextvit_small tiny_vit_5m_224 volo_d1_224 sequencer2d_s botnet26t_256 halonet26t
lambda_resnet26t samvit_base_patch16_224 focalnet_tiny_srf vitamin_small_224
"""
TRANSFORMERS = ("ViT", "Swin", "Segformer", "PoolFormer", "ConvNext", "Dinov2", "Bert", "DistilBert", "Roberta", "GPT2")


@dataclass(frozen=True)
class Net:
    """One architecture.

    Args:
        name: ``library:architecture``.
        make: Builds it in evaluation mode, with random weights.
        item: Shape of one item.
        vocabulary: Number of tokens where items are token ids, else 0.
    """

    name: str
    make: Callable[[], Any]
    item: tuple[int, ...]
    vocabulary: int = 0


def pictures(shape: tuple[int, ...], draws: Any) -> Any:
    """Random items ``[N, 3, H, W]`` that are smooth, as pictures are, under a little noise."""
    import torch

    coarse = torch.randn(*shape[:2], 7, 7, generator=draws)
    smooth = torch.nn.functional.interpolate(coarse, shape[2:], mode="bicubic")
    return 2 * smooth + torch.randn(*shape, generator=draws)


def _awake(net: Any, size: int = 224) -> Any:
    """The net with norms and layer scales away from where training starts, in evaluation mode."""
    import torch

    draws = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, value in [*net.named_parameters(), *net.named_buffers()]:
            if not value.is_floating_point():
                continue
            if value.ndim > 1:
                if not value.any():  # heads that start at zero say nothing
                    value.copy_(0.02 * torch.randn(value.shape, generator=draws))
                continue
            noise = torch.rand(value.shape, generator=draws)
            if name.endswith("running_var") or (name.endswith("weight") and value.ndim == 1) or "gamma" in name:
                value.copy_(0.5 + noise)
            elif name.endswith(("running_mean", "bias")):
                value.copy_(0.2 * (noise - 0.5))
        norms = [one for one in net.modules() if hasattr(one, "running_mean")]
        for norm in norms:
            norm.train()
            norm.momentum = 1.0
        if norms:
            net(pictures((4, 3, size, size), draws))
        for norm in norms:
            # a channel that hardly varies would be blown up, rounding errors and all; trained nets have none
            norm.running_var.clamp_(min=(norm.running_mean * norm.running_mean).mul_(0.01))
    return net.eval()


def _torchvision(name: str) -> Net:
    def make() -> Any:
        import torch
        import torchvision

        torch.manual_seed(0)
        more = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
        if more:
            more["aux_logits"] = False
        return _awake(torchvision.models.get_model(name, num_classes=20, **more).eval(), size)

    size = 299 if name == "inception_v3" else 256 if name == "swin_v2_t" else 224
    return Net(f"torchvision:{name}", make, (3, size, size))


def _timm(name: str) -> Net:
    def make() -> Any:
        import timm
        import torch

        torch.manual_seed(0)
        net = timm.create_model(name, num_classes=20).eval()
        return _awake(net, net.default_cfg["input_size"][-1])

    return Net(f"timm:{name}", make, ())


def _transformers(kind: str) -> Net:
    texts = {"Bert", "DistilBert", "Roberta", "GPT2"}
    deep = {"num_hidden_layers": 3, "num_attention_heads": 4}
    staged = {"depths": [1, 1, 1, 1], "hidden_sizes": [16, 32, 40, 64]}
    bert = {"vocab_size": 99, "hidden_size": 64, "intermediate_size": 128, **deep}
    small = {
        "ViT": {"hidden_size": 64, "intermediate_size": 128, "image_size": 64, "patch_size": 8, **deep},
        "Swin": {"image_size": 64, "embed_dim": 24, "depths": [2, 2], "num_heads": [2, 4], "window_size": 4},
        "Segformer": {"decoder_hidden_size": 32, **staged},
        "PoolFormer": staged,
        "ConvNext": staged,
        "Dinov2": {"hidden_size": 64, "image_size": 56, "patch_size": 14, **deep},
        "Bert": bert,
        "DistilBert": {"vocab_size": 99, "dim": 64, "n_layers": 3, "n_heads": 4, "hidden_dim": 128},
        "Roberta": bert,
        "GPT2": {"vocab_size": 99, "n_embd": 64, "n_layer": 3, "n_head": 4, "pad_token_id": 0},
    }

    def make() -> Any:
        import torch
        import transformers

        task = "SequenceClassification" if kind in texts else "ImageClassification"
        config = getattr(transformers, f"{kind}Config")(**small[kind], num_labels=7, attn_implementation="eager")
        torch.manual_seed(0)
        net = getattr(transformers, f"{kind}For{task}")(config).eval()
        net = net if kind == "PoolFormer" else _awake(net)

        class Logits(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.net = net

            def forward(self, x: Any) -> Any:
                return self.net(x).logits

        return Logits().eval()

    item = (16,) if kind in texts else (3, 56, 56) if kind == "Dinov2" else (3, 64, 64)
    return Net(f"transformers:{kind}", make, item, 99 if kind in texts else 0)


NETS = {
    net.name: net
    for net in (*map(_torchvision, TORCHVISION.split()), *map(_timm, TIMM.split()), *map(_transformers, TRANSFORMERS))
}
