"""TPE on accuracy against two latencies."""

import optuna
import optunahub

if __name__ == "__main__":
    module = optunahub.load_module("benchmarks/nas_rlm_nasbench201")
    problem = module.Problem("cifar10", devices=["pixel3", "gpu"])
    study = optuna.create_study(
        directions=problem.directions, sampler=optuna.samplers.TPESampler(seed=0)
    )
    study.set_metric_names(problem.metric_names)
    study.optimize(problem, n_trials=30)
    share = problem.hypervolume_share([trial.values for trial in study.trials])
    print(f"{share:.1%} of the true hypervolume")
