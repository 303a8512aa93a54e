//! Random disk graphs against a model of the host: files with contents, and everybody who reads them.

use std::collections::{BTreeMap, BTreeSet};

use kvm_image::graph::{Access, Graph, GraphBuilder, Name, Operation, Reason, User, Verdict};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// An image: the names that its file has, whether it is there, and by which name of which image it lies upon that.
#[derive(Clone, Debug)]
struct Image {
    is_hard_linked: bool,
    is_in_other_pool: bool,
    is_missing: bool,
    below: Option<(usize, bool)>,
}

/// A user: machine, kind, image, by its second name, only reading.
type Use = (usize, usize, usize, bool, bool);

#[derive(Clone, Debug)]
struct Host {
    images: Vec<Image>,
    uses: Vec<Use>,
}

fn hosts() -> impl Strategy<Value = Host> {
    (1..9_usize).prop_flat_map(|count| {
        let below = prop::option::weighted(0.6, (0..count, any::<bool>()));
        let image = (prop::bool::weighted(0.3), any::<bool>(), prop::bool::weighted(0.1), below).prop_map(
            |(is_hard_linked, is_in_other_pool, is_missing, below)| Image {
                is_hard_linked,
                is_in_other_pool,
                is_missing,
                below: below.filter(|_| !is_missing),
            },
        );
        let usage = (0..4_usize, 0..4_usize, 0..count, any::<bool>(), any::<bool>());
        (prop::collection::vec(image, count), prop::collection::vec(usage, 0..7))
            .prop_map(|(images, uses)| Host { images, uses })
    })
}

/// The contents of a file: who made it, how often it changed since, and the path of what it lies upon.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct File {
    inode: usize,
    version: usize,
    below: Option<String>,
}

/// The file system: by path.
type World = BTreeMap<String, File>;

impl Host {
    fn path(&self, image: usize, second: bool) -> String {
        let pool = if self.images[image].is_in_other_pool { "other" } else { "images" };
        let link = if second && self.images[image].is_hard_linked { "link" } else { "disk" };
        format!("/{pool}/{link}{image}")
    }

    fn user(&self, at: usize) -> User {
        let (vm, kind, ..) = self.uses[at];
        let (vm, number) = (format!("vm{vm}"), at.to_string());
        match kind {
            0 => User::Snapshot { vm, snapshot: number },
            1 => User::Checkpoint { vm, checkpoint: number },
            2 => User::Mirror { vm, disk: number },
            _ => User::vm(vm, number),
        }
    }

    fn graph(&self) -> Graph {
        let mut builder = GraphBuilder::default();
        for (at, &(_, _, image, second, reads)) in self.uses.iter().enumerate() {
            let access = if reads { Access::Read } else { Access::Write };
            builder.usage(self.user(at), access, &Name::path(self.path(image, second)));
        }
        for (at, image) in self.images.iter().enumerate() {
            if let Some((below, second)) = image.below {
                builder.backing(&Name::path(self.path(at, false)), &Name::path(self.path(below, second)));
            }
            let inode = Name::Inode { device: 1, inode: at as u64 };
            let volume = Name::volume("pool", at.to_string());
            let paths = [false, true].map(|second| Name::path(self.path(at, second)));
            match image.is_missing {
                true => builder.missing(&paths),
                // Each path was found by itself; that they are one file is seen by the inode.
                false => {
                    builder.image(&[paths[0].clone(), inode.clone(), volume]);
                    builder.image(&[paths[1].clone(), inode]);
                }
            }
        }
        builder.build()
    }

    fn world(&self) -> World {
        let there = (0..self.images.len()).filter(|at| !self.images[*at].is_missing);
        there
            .flat_map(|at| [false, true].map(|second| (at, second)))
            .map(|(at, second)| {
                let below = self.images[at].below.map(|(below, second)| self.path(below, second));
                (self.path(at, second), File { inode: at, version: 0, below })
            })
            .collect()
    }
}

/// What somebody who opens this path reads: the files of the chain, up to one that is not there or comes again.
fn contents(world: &World, path: &str) -> Vec<File> {
    let (mut chain, mut next) = (Vec::new(), Some(path.to_owned()));
    while let Some(file) = next.take().and_then(|path| world.get(&path)) {
        if chain.contains(file) {
            break;
        }
        next.clone_from(&file.below);
        chain.push(file.clone());
    }
    chain
}

/// The images on the way from one down to another, by the model; none when there is no such way.
fn path_down(world: &World, from: &str, to: usize) -> Vec<usize> {
    let chain: Vec<usize> = contents(world, from).iter().map(|file| file.inode).collect();
    chain.iter().position(|inode| *inode == to).map_or_else(Vec::new, |end| chain[..=end].to_vec())
}

/// An operation: what, on which images, by which of their names, for which machine.
type Order = (usize, Vec<(prop::sample::Index, bool)>, usize);

fn try_one(host: &Host, graph: &Graph, (kind, picked, vm): &Order) {
    let picked: Vec<_> = picked.iter().map(|(at, second)| (at.index(host.images.len()), *second)).collect();
    let name = |&(at, second): &(usize, bool)| Name::path(host.path(at, second));
    let before = host.world();
    let mut after = before.clone();
    let all: BTreeSet<usize> = picked.iter().map(|(at, _)| *at).collect();
    let (first, last) = (picked[0], picked[picked.len() - 1]);
    let rewrite = |world: &mut World, images: &BTreeSet<usize>| {
        world.values_mut().filter(|file| images.contains(&file.inode)).for_each(|file| file.version += 1);
    };
    let (operation, touched) = match kind {
        0 | 1 => {
            // A place that is gone is a place that is gone, whether the file still is somewhere else or not.
            after.retain(|_, file| !all.contains(&file.inode));
            let names = picked.iter().map(name);
            (if *kind == 0 { Operation::delete(names) } else { Operation::relocate(names) }, all)
        }
        2 | 3 => {
            let image = BTreeSet::from([first.0]);
            rewrite(&mut after, &image);
            let pull = Operation::Pull { image: name(&first) };
            (if *kind == 2 { pull } else { Operation::Revert { image: name(&first) } }, image)
        }
        _ => {
            let way: BTreeSet<usize> = path_down(&before, &host.path(first.0, first.1), last.0).into_iter().collect();
            rewrite(&mut after, &way);
            (Operation::Commit { active: name(&first), base: name(&last) }, way)
        }
    };
    let partners = graph.users_of_vm(&format!("vm{vm}"));
    let users = (0..host.uses.len()).filter(|at| !partners.contains(&host.user(*at)));
    let by_users = users.map(|at| host.path(host.uses[at].2, host.uses[at].3));
    let by_images = (0..host.images.len()).filter(|at| !touched.contains(at)).map(|at| host.path(at, false));
    let hurt: Vec<_> =
        by_users.chain(by_images).filter(|path| contents(&before, path) != contents(&after, path)).collect();

    let verdict = graph.may(&operation, &partners);
    assert!(!verdict.is_allowed() || hurt.is_empty(), "{operation:?} hurts {hurt:?}\n{}", graph.to_text());
    // And nothing is refused for nothing, as far as the model can tell: of a file that is not there it cannot.
    let is_there = touched.iter().all(|at| !host.images[*at].is_missing);
    if *kind < 2 && is_there {
        assert!(verdict.is_allowed() || !hurt.is_empty(), "{operation:?}: {verdict:?}\n{}", graph.to_text());
    }
}

#[test]
fn in_500_random_graphs_nothing_is_allowed_that_hurts_somebody_else() {
    let picked = prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 1..4);
    let orders = prop::collection::vec((0..5_usize, picked, 0..5_usize), 12);
    let mut runner = TestRunner::new(Config::with_cases(500));
    let run = runner.run(&(hosts(), orders), |(host, orders)| {
        let graph = host.graph();
        orders.iter().for_each(|order| try_one(&host, &graph, order));
        check_orphans(&host, &graph);
        assert!(graph.to_dot().ends_with("}\n"));
        assert!(serde_json::to_value(&graph).is_ok());
        Ok(())
    });
    run.unwrap_or_else(|error| panic!("{error}"));
}

/// An orphan is a file that nobody reads, and every such file is one.
fn check_orphans(host: &Host, graph: &Graph) {
    let world = host.world();
    let read = host.uses.iter().flat_map(|usage| contents(&world, &host.path(usage.2, usage.3)));
    let read: BTreeSet<usize> = read.map(|file| file.inode).collect();
    let expected: BTreeSet<_> =
        (0..host.images.len()).filter(|at| !read.contains(at) && !host.images[*at].is_missing).collect();
    let found = graph.orphans();
    let found: BTreeSet<_> = expected
        .iter()
        .copied()
        .filter(|at| graph.find(&Name::path(host.path(*at, false))).is_some_and(|image| found.contains(&image)))
        .chain((found.len() > expected.len()).then_some(usize::MAX))
        .collect();
    assert_eq!(found, expected, "{}", graph.to_text());
}

fn path(name: &str) -> Name {
    Name::path(format!("/images/{name}"))
}

/// A shared base, two machines upon it, and a snapshot of one of them.
fn shared_base() -> GraphBuilder {
    let mut builder = GraphBuilder::default();
    for name in ["base", "web", "web.1", "db"] {
        builder.image(&[path(name)]);
    }
    builder.backing(&path("web.1"), &path("web"));
    builder.backing(&path("web"), &path("base"));
    builder.backing(&path("db"), &path("base"));
    builder.usage(User::vm("web", "vda"), Access::Write, &path("web.1"));
    builder.usage(User::Snapshot { vm: "web".into(), snapshot: "monday".into() }, Access::Read, &path("web"));
    builder.usage(User::vm("db", "vda"), Access::Write, &path("db"));
    builder
}

#[test]
fn a_commit_into_a_shared_base_is_refused_and_one_above_it_is_not() {
    let graph = shared_base().build();
    let web = graph.users_of_vm("web");
    let commit = |base: &str| Operation::Commit { active: path("web.1"), base: path(base) };
    assert_eq!(graph.may(&commit("web"), &web), Verdict::Allowed);
    let Verdict::Refused { reasons } = graph.may(&commit("base"), &web) else { panic!("allowed") };
    let users = BTreeSet::from([User::vm("db", "vda")]);
    assert_eq!(reasons, [Reason::Overlaid { image: path("base"), overlay: path("db"), users }]);
    // Its snapshot stays, so it is somebody else.
    let disk = BTreeSet::from([User::vm("web", "vda")]);
    assert!(!graph.may(&commit("web"), &disk).is_allowed());
    let apart = Operation::Commit { active: path("db"), base: path("web") };
    assert!(
        matches!(graph.may(&apart, &web), Verdict::Refused { reasons } if matches!(reasons[..], [Reason::NotBelow { .. }]))
    );
}

#[test]
fn the_part_around_a_machine_has_its_chain_and_what_lies_upon_that() {
    let mut builder = shared_base();
    builder.image(&[path("other")]);
    builder.usage(User::vm("mail", "vda"), Access::Write, &path("other"));
    let graph = builder.build();
    let names = |graph: &Graph| graph.images().iter().map(|image| image.name().to_string()).collect::<Vec<_>>();
    let part = graph.around("web");
    assert_eq!(names(&part), ["/images/base", "/images/db", "/images/web", "/images/web.1"]);
    let base = part.find(&path("base")).unwrap();
    assert_eq!(part.images()[base].overlays.len(), 2);
    assert_eq!(part.below([part.find(&path("web.1")).unwrap()]).len(), 2);
    assert_eq!(names(&graph.around("mail")), ["/images/other"]);
    assert!(graph.around("nobody").images().is_empty());
}

#[test]
fn what_could_not_be_read_refuses_until_it_is_part_of_the_change() {
    let mut builder = shared_base();
    builder.image(&[path("old")]);
    builder.unread(&[path("strange")], "permission denied");
    let graph = builder.build();
    assert!(!graph.may(&Operation::delete([path("old")]), &BTreeSet::new()).is_allowed());
    assert!(graph.may(&Operation::delete([path("old"), path("strange")]), &BTreeSet::new()).is_allowed());
    let unknown = graph.may(&Operation::delete([path("never seen")]), &BTreeSet::new());
    assert_eq!(unknown, Verdict::Refused { reasons: vec![Reason::Unknown { image: path("never seen") }] });
}

#[test]
fn the_graph_is_shown_as_text_dot_and_json() {
    let mut builder = shared_base();
    builder.missing(&[path("a\"b\\\u{202e}")]);
    builder.backing(&path("ring"), &path("ring"));
    let graph = builder.build();
    let text = graph.to_text();
    assert_eq!(
        text,
        "/images/a\"b\\\\u{202e}  (missing)\n\
         /images/db  (disk vda of VM db)\n  /images/base\n\
         /images/web.1  (disk vda of VM web)\n  /images/web  (snapshot monday of VM web, read)\n    /images/base\n\
         /images/ring  (not looked at)\n  /images/ring  (not looked at)  (again)\n"
    );
    let dot = graph.to_dot();
    assert!(dot.contains("label=\"/images/a\\\"b\\\\\\\\u{202e}\", style=dashed"), "{dot}");
    let json = serde_json::to_value(&graph).unwrap();
    assert_eq!(json["images"][1]["names"][0]["path"], "/images/base");
    assert_eq!(json["images"][1]["overlays"], serde_json::json!([2, 4]));
    assert_eq!(json["images"][2]["users"][0]["access"], "write");
}
