//! Learns, and compares.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use stap_driver::recipe::{Build, Step};
use stap_driver::template::Template;
use stap_policy::builtin;
use stap_protocol::job::Configuration;
use stap_worker::driver::{Kit, Learned, Learner, Proof, Sameness, Shelf, prove};
use stap_worker::job::Stage;
use stap_worker::slots::Slot;
use stap_worker::station::{Ground, Station};
use stap_worker::targets::Served;
use stap_worker::warm::{Seed, Variant};
use tokio_util::sync::CancellationToken;

use crate::scripts::{GURU, PLAIN, Script};

/// Whether everything is as promised.
pub(crate) fn run(root: PathBuf) -> anyhow::Result<bool> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let scratch = tempfile::tempdir()?;
        let temporary = scratch.path().to_owned();
        let configuration = configuration(root, temporary.clone());
        let ground = Ground::take(&configuration).await?;
        let (station, _) = Station::prepare(configuration, ground).await?;
        let served = station.catalogue.served().next().context("no target")?;
        println!("target {}", served.target.name);
        let shelf = Shelf::below(temporary);
        let plain = compare(&station, served, Variant::Plain, &shelf, PLAIN).await?;
        let guru = compare(&station, served, Variant::Guru, &shelf, GURU).await?;
        Ok(plain && guru)
    })
}

fn configuration(root: PathBuf, temporary: PathBuf) -> Configuration {
    Configuration {
        roots: vec![root],
        releases: Vec::new(),
        arch: None,
        stap: None,
        server_options: Vec::new(),
        policy: builtin::SHARED_HOST.to_owned(),
        slots: 1,
        cache: temporary.join("cache"),
        temporary,
        keep: false,
        hidden: Vec::new(),
    }
}

async fn compare(
    station: &Station,
    served: &Served,
    variant: Variant,
    shelf: &Shelf,
    scripts: &[Script],
) -> anyhow::Result<bool> {
    let cancelled = CancellationToken::new();
    let stage = Stage {
        station,
        served,
        slot: Slot(0),
        driver: None,
    };
    let seed = probes(&stage, variant, &cancelled).await?;
    let learner = Learner {
        stage,
        variant,
        seed: &seed,
        shelf,
        cancelled: &cancelled,
    };
    let kit = match learner.learn().await? {
        Learned::Proven(kit) => kit,
        other => bail!("pass 4 was not learned: {other:?}"),
    };
    println!("{}: kept {:?}", variant.name(), kit.recipe.kept);
    let exact = kit.without_header();
    // A comparison that is too strict would be one without it.
    let mut is_well = kit != exact;
    if !is_well {
        println!("{}: no precompiled header was kept", variant.name());
    }
    for (name, script) in scripts {
        let example = learner.example(name, script).await;
        let example = [example.map_err(anyhow::Error::msg).context(*name)?];
        let bytes = prove(&learner, &exact, &example, Sameness::Bytes).await?;
        let shape = prove(&learner, &kit, &example, Sameness::Shape).await?;
        println!(
            "{} {name}: {bytes:?}, with a precompiled header {shape:?}",
            variant.name()
        );
        is_well &= bytes == Proof::Same && shape == Proof::Same;
        if *name == "hello" {
            for changed in changed(&exact) {
                let proof = prove(&learner, &changed, &example, Sameness::Bytes).await?;
                println!("{} {name} with a flag changed: {proof:?}", variant.name());
                is_well &= matches!(proof, Proof::Different(_) | Proof::Unreplayed(_));
            }
        }
    }
    Ok(is_well)
}

/// What a warm-up leaves, made without a store.
async fn probes(
    stage: &Stage<'_>,
    variant: Variant,
    cancelled: &CancellationToken,
) -> anyhow::Result<Seed> {
    let jail = &stage.station.jail;
    let room = jail.room(stage.identity())?;
    let errand = stage.warm_up(variant, &room)?;
    let finished = jail.run(errand, room, cancelled).await?;
    let workspace = finished.workspace.context("the warm-up left nothing")?;
    Ok(Seed::of(stap_worker::job::collect_seed(&workspace)))
}

/// Kits that are wrong in one word, each in another step.
fn changed(kit: &Kit) -> Vec<Kit> {
    let change = |step: Step, from: &str, to: &str| {
        let mut changed = kit.clone();
        let mut is_changed = false;
        for build in &mut changed.recipe.builds {
            let Build { steps, .. } = build;
            for word in steps[step as usize].iter_mut().flatten() {
                if word.as_str() == from {
                    *word = Template::marked(to.to_owned());
                    is_changed = true;
                }
            }
        }
        assert!(is_changed, "no command has {from}");
        changed
    };
    vec![
        change(Step::Compile, "-O2", "-O1"),
        change(Step::Compile, "-DMODULE", "-DMODULE_"),
        change(Step::Finish, "--build-id=sha1", "--build-id=none"),
    ]
}
