//! A weak line: a laptop and a server in network namespaces of their own, 5 Mbit/s between them, packets lost in both
//! directions, connections reset, and times in which nothing comes through at all.
//!
//! All photos must arrive, once; guests must see all of them long before the last original is there; and what the watcher
//! sends must be hardly more than what originals and previews have, or a weak line would be worn out by repetitions.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::guest::client;
use crate::support::photos::{filled_up, jpeg};
use crate::support::{Event, Laptop, Random, Server, Watch, networks, not_tested, say};

/// The line's rate.
const RATE: &str = "5mbit";
/// Of all packets in each direction, this share is lost.
const LOST: &str = "0.03";

/// More than any run takes.
const LONGEST: Duration = Duration::from_secs(900);

/// What happens, beside the loss.
pub(crate) struct Weather {
    photos: u64,
    kilobytes: usize,
    /// Width and height of the pictures, in pixels.
    picture: (u16, u16),
    /// Between two events.
    calm: Duration,
    /// Silence; every second event.
    blackout: Duration,
    /// No more of it after so many events.
    events: u32,
}

impl Weather {
    pub(crate) fn of(photos: u64, blackout: u64) -> Self {
        let (calm, blackout) = (Duration::from_secs(15), Duration::from_secs(blackout));
        Self { photos, kilobytes: 3072, picture: (3000, 2000), calm, blackout, events: 6 }
    }

    /// For every run of the tests.
    pub(crate) fn short() -> Self {
        let (calm, blackout) = (Duration::from_secs(3), Duration::from_secs(3));
        Self { photos: 6, kilobytes: 1024, picture: (320, 216), calm, blackout, events: 2 }
    }
}

/// Sends photos over the weak line.
pub(crate) async fn run(weather: &Weather, mut random: Random) {
    let Some(line) = WeakLine::new() else {
        return not_tested("a weak line: this user may make no network namespaces, or iptables is missing");
    };
    let inside = ["ip", "netns", "exec", &*line.server];
    let options = ["--faces", "off", "--metrics-listen", "0.0.0.0:0"];
    let mut server = Server::idle(&options).through(&inside).at("0.0.0.0", &line.control);
    server.run().await;
    let event = server.create_event("weak line");
    let laptop = Laptop::new();
    let (width, height) = weather.picture;
    let photo = |n| filled_up(jpeg(n, width, height), n, weather.kilobytes);
    let contents: Vec<_> = (0..weather.photos).map(photo).collect();
    for (n, bytes) in contents.iter().enumerate() {
        laptop.put(format!("DSC_{n}.jpg"), bytes);
    }
    line.shape();
    let mut command = laptop.command(&["ip", "netns", "exec", &*line.laptop]);
    let port = server.url().rsplit(':').next().unwrap().to_owned();
    laptop.add_event(&mut command, &event.through(&format!("http://{}:{port}", line.far)));
    command.args(["--once", "--give-up", "600"]);
    let began = Instant::now();
    let mut watch = laptop.start(command);
    let (happened, shown) = tokio::join!(rages(weather, &line, &mut watch, &mut random), shown(&event, weather.photos));
    let run = watch.end().await;
    run.assert_exit(0);
    let took = began.elapsed();
    event.assert_holds_exactly(&contents).await;
    let bytes: usize = contents.iter().map(Vec::len).sum();
    let wanted = bytes as u64 + run.total("preview_bytes");
    let (sent, arrived) = (run.total("bytes_sent"), arrived(&server, &line.control).await);
    let share = sent as f64 / wanted as f64;
    say(&format!(
        "shaped: {} photos, {:.1} MB and {:.1} MB of previews in {:.0} s at 5 Mbit/s with 3 % of packets lost, {} resets and \
         {} blackouts of {} s; {share:.3} times their bytes were sent, {:.3} arrived; guests saw all of them after {:.0} s, \
         {} of the originals were there",
        weather.photos,
        bytes as f64 / 1e6,
        run.total("preview_bytes") as f64 / 1e6,
        took.as_secs_f64(),
        happened.div_ceil(2),
        happened / 2,
        weather.blackout.as_secs(),
        arrived / wanted as f64,
        shown.after.as_secs_f64(),
        shown.originals,
    ));
    assert!(sent as usize >= bytes, "more arrived than was sent");
    assert!(share <= 1.05 || weather.events < 3, "{share:.3} times the bytes of originals and previews were sent");
    assert!(shown.originals < weather.photos || weather.events < 3, "guests waited for the originals");
    server.assert_no_faults();
}

/// Lets it rage while the watcher sends; how often something happened.
async fn rages(weather: &Weather, line: &WeakLine, watch: &mut Watch, random: &mut Random) -> u32 {
    let mut happened = 0;
    while happened < weather.events && watch.is_running() {
        tokio::time::sleep(weather.calm.mul_f64(0.5 + random.between(0, 100) as f64 / 100.0)).await;
        happened += 1;
        if happened % 2 == 0 {
            line.while_there_is("-j DROP", weather.blackout).await;
        } else {
            line.while_there_is("-p tcp -j REJECT --reject-with tcp-reset", Duration::from_millis(300)).await;
        }
    }
    happened
}

/// When guests saw all photos, and how many originals were there by then.
struct Shown {
    after: Duration,
    originals: u64,
}

/// Waits until all photos are indexed, by their previews or themselves.
async fn shown(event: &Event, photos: u64) -> Shown {
    let began = Instant::now();
    // Nobody may ask too often.
    let mut look = tokio::time::interval(Duration::from_millis(500));
    while event.counts().await.indexed < photos {
        assert!(began.elapsed() < LONGEST, "guests do not see all photos");
        look.tick().await;
    }
    Shown { after: began.elapsed(), originals: event.names().await.len() as u64 }
}

/// Bytes of photos that the server has taken from connections.
async fn arrived(server: &Server, control: &str) -> f64 {
    let url = server.metrics_url().replace("0.0.0.0", control);
    let text = client().get(url).send().await.unwrap().text().await.unwrap();
    let bytes = text.lines().find_map(|line| line.strip_prefix("findme_upload_bytes_total "));
    bytes.expect("it is counted").parse().unwrap()
}

/// Two namespaces and the line between them; removed with this.
struct WeakLine {
    laptop: String,
    server: String,
    /// The server's address as the laptop knows it.
    far: String,
    /// The same from here, over a line of its own that nothing shapes.
    control: String,
}

fn ran(words: &str) -> bool {
    let mut words = words.split(' ');
    let ran = Command::new(words.next().expect("a program")).args(words).output();
    ran.is_ok_and(|ran| ran.status.success())
}

impl WeakLine {
    /// Names and addresses come from the process id, so that runs side by side do not meet.
    fn new() -> Option<Self> {
        let pid = std::process::id();
        let [_, _, high, low] = (pid << 2).to_be_bytes();
        let (laptop, server) = (format!("findme-l{pid}"), format!("findme-s{pid}"));
        let address = |net: u8, end: u8| format!("10.{net}.{high}.{}", low | end);
        let line = Self { far: address(214, 1), control: address(215, 1), laptop, server };
        let Self { laptop, server, far, control } = &line;
        let (near, here) = (address(214, 2), address(215, 2));
        let steps = [
            format!("ip netns add {laptop}"),
            format!("ip netns add {server}"),
            format!("ip -n {laptop} link add weak type veth peer name weak netns {server}"),
            format!("ip -n {laptop} addr add {near}/30 dev weak"),
            format!("ip -n {server} addr add {far}/30 dev weak"),
            format!("ip link add fms{pid} type veth peer name control netns {server}"),
            format!("ip addr add {here}/30 dev fms{pid}"),
            format!("ip link set fms{pid} up"),
            format!("ip -n {server} addr add {control}/30 dev control"),
            format!("ip -n {server} link set control up"),
            format!("ip -n {server} link set lo up"),
            format!("ip -n {laptop} link set lo up"),
            format!("ip -n {server} link set weak up"),
            format!("ip -n {laptop} link set weak up"),
            format!("ip netns exec {laptop} iptables -L"),
        ];
        let changing = networks::changing();
        let made = steps.iter().all(|step| ran(step));
        drop(changing);
        made.then_some(line)
    }

    fn shape(&self) {
        for end in [&self.laptop, &self.server] {
            let steps = [
                format!("tc -n {end} qdisc add dev weak root tbf rate {RATE} burst 16kb latency 200ms"),
                format!(
                    "ip netns exec {end} iptables -A INPUT -i weak -m statistic --mode random --probability {LOST} -j DROP"
                ),
            ];
            assert!(steps.iter().all(|step| ran(step)), "{steps:?}");
        }
    }

    /// For so long, this happens to every packet that reaches the server over the weak line.
    async fn while_there_is(&self, what: &str, time: Duration) {
        let rule = |verb: &str| ran(&format!("ip netns exec {} iptables {verb} INPUT -i weak {what}", self.server));
        assert!(rule("-I"), "{what}");
        tokio::time::sleep(time).await;
        assert!(rule("-D"), "{what}");
    }
}

impl Drop for WeakLine {
    fn drop(&mut self) {
        // The devices go with them.
        let _changing = networks::changing();
        ran(&format!("ip netns delete {}", self.laptop));
        ran(&format!("ip netns delete {}", self.server));
    }
}
