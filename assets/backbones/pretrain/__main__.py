"""Make the bundled backbone, and measure it.

python -m assets.backbones.pretrain draw SOURCE
python -m assets.backbones.pretrain train SOURCE OUT.safetensors --teacher MOBILENETV2.safetensors --photos FOLDER
python -m assets.backbones.pretrain transfer FOLDER --weights OUT.safetensors
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m assets.backbones.pretrain",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, dest="command")
    draw = commands.add_parser("draw", help="draw the source pictures into a folder")
    draw.add_argument("source", type=Path)
    draw.add_argument("--count", type=int, default=40_000)
    draw.add_argument("--size", type=int, default=144)
    draw.add_argument("--seed", type=int, default=1)
    train = commands.add_parser("train", help="pretrain a backbone on the drawn pictures")
    train.add_argument("source", type=Path)
    train.add_argument("out", type=Path)
    train.add_argument("--teacher", type=Path, required=True, help="weights of timm's mobilenetv2_100")
    train.add_argument("--photos", type=Path, required=True, help="class folders of photographs; labels are not used")
    train.add_argument("--share", type=int, default=40, help="photographs used of each class: the first by name")
    train.add_argument("--start", type=Path, help="a .student file of an earlier run to go on from")
    train.add_argument("--arch", default="resnet10t")
    train.add_argument("--steps", type=int, default=2000)
    train.add_argument("--pixels", type=int, default=96, help="side of the views")
    train.add_argument("--crop", type=float, nargs=2, default=(0.55, 1.0), help="share of a drawing's side in view")
    train.add_argument("--photo-crop", type=float, nargs=2, default=(0.3, 0.95), help="the same for photographs")
    train.add_argument("--anneal", type=float, default=0.5, help="share of the steps over which the rate falls to 0")
    train.add_argument("--rate", type=float, default=2e-3)
    train.add_argument("--seed", type=int, default=1)
    train.add_argument("--workers", type=int, default=2, help="processes that share each batch")
    train.add_argument("--port", type=int, default=29517, help="a free local port on which they meet")
    transfer = commands.add_parser("transfer", help="fine-tune on a folder and print the validation accuracy")
    transfer.add_argument("folder", type=Path)
    transfer.add_argument("--weights", type=Path, help="without it the network starts from random weights")
    transfer.add_argument("--arch", default="resnet10t")
    transfer.add_argument("--thawed", default="everything", help="head, everything, or stages such as layer3+layer4")
    transfer.add_argument("--epochs", type=int, default=5)
    transfer.add_argument("--batch", type=int, default=32)
    transfer.add_argument("--pixels", type=int, default=128)
    transfer.add_argument("--head-rate", type=float, default=3e-3)
    transfer.add_argument("--body-rate", type=float, default=3e-4)
    transfer.add_argument("--skip", type=int, default=0, help="leave out the first files of each class")
    transfer.add_argument("--seeds", type=int, nargs="+", default=[0])
    return parser.parse_args()


def main() -> None:
    """Draw, train or measure."""
    args = arguments()
    if args.command == "draw":
        from assets.backbones.pretrain import drawn

        drawn.draw_all(args.source, args.count, args.size, args.seed)
    elif args.command == "train":
        from assets.backbones.pretrain.train import Inputs, Plan, train

        plan = Plan(
            arch=args.arch,
            steps=args.steps,
            pixels=args.pixels,
            crop=tuple(args.crop),
            photo_crop=tuple(args.photo_crop),
            rate=args.rate,
            anneal=args.anneal,
            seed=args.seed,
        )
        inputs = Inputs(args.source, args.photos, args.share, args.teacher, args.out, args.start)
        torch.multiprocessing.spawn(train, (args.workers, plan, inputs, args.port), nprocs=args.workers)
    else:
        _transfer(args)


def _transfer(args: argparse.Namespace) -> None:
    from assets.backbones.pretrain.transfer import Trial, measure

    trial = Trial(
        epochs=args.epochs,
        batch=args.batch,
        pixels=args.pixels,
        head_rate=args.head_rate,
        body_rate=args.body_rate,
        thawed=args.thawed,
    )
    runs = [measure(args.folder, args.arch, args.weights, trial, seed, args.skip) for seed in args.seeds]
    each = " ".join(f"{run.accuracy:.3f}" for run in runs)
    mean, seconds = sum(r.accuracy for r in runs) / len(runs), sum(r.seconds for r in runs) / len(runs)
    start = args.weights.name if args.weights else "random weights"
    print(f"{args.folder.name}: {args.arch} from {start}, {trial.thawed} thawed, {trial.epochs} epochs", end=": ")
    print(f"accuracy {mean:.3f} ({each}), {seconds:.0f} s of training", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(2)
    main()
