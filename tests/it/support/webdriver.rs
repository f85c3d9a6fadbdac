//! A real Chromium, driven through chromedriver.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

/// The browser; it ends with its driver when dropped.
pub struct Browser {
    driver: Child,
    port: u16,
    client: Client,
    url: String,
}

impl Browser {
    /// Starts driver and browser, without a screen.
    pub async fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let driver = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("this test needs Chromium: run scripts/install-chromium.sh, or make test-browser");
        let client = Client::builder().no_proxy().build().unwrap();
        let mut browser = Self { driver, port, client, url: format!("http://127.0.0.1:{port}") };
        let begun = Instant::now();
        while browser.client.get(format!("{}/status", browser.url)).send().await.is_err() {
            assert!(begun.elapsed() < Duration::from_secs(20), "chromedriver does not answer");
            sleep(Duration::from_millis(100)).await;
        }
        // No sandbox: as root Chromium refuses to start with one, and it sees nothing but the test's own pages.
        let options = json!({"args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]});
        let wanted = json!({"browserName": "chrome", "timeouts": {"script": 10_000}, "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}});
        let wanted = json!({"capabilities": {"alwaysMatch": wanted}});
        let session = browser.call(Method::POST, "/session", Some(wanted)).await;
        browser.url = format!("{}/session/{}", browser.url, session["sessionId"].as_str().unwrap());
        browser
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        self.try_call(method, path, body).await.unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    async fn try_call(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, Value> {
        let mut request = self.client.request(method, format!("{}{path}", self.url));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        let value = answer["value"].clone();
        if value["error"].is_null() { Ok(value) } else { Err(value) }
    }

    /// Opens a page.
    pub async fn open(&self, url: &str) {
        self.call(Method::POST, "/url", Some(json!({"url": url}))).await;
    }

    /// The address of the page that shows.
    pub async fn address(&self) -> String {
        self.call(Method::GET, "/url", None).await.as_str().unwrap().to_owned()
    }

    /// The value of an expression, awaited when it is a promise.
    pub async fn value(&self, expression: &str) -> Value {
        self.try_value(expression).await.unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    async fn try_value(&self, expression: &str) -> Result<Value, Value> {
        let script = format!("const done = arguments[0]; Promise.resolve({expression}).then(done)");
        self.try_call(Method::POST, "/execute/async", Some(json!({"script": script, "args": []}))).await
    }

    /// Runs a statement and waits for nothing.
    pub async fn run(&self, statement: &str) {
        self.call(Method::POST, "/execute/sync", Some(json!({"script": statement, "args": []}))).await;
    }

    /// What the browser stopped since it was last asked, because the page's policy forbids it.
    pub async fn stopped_by_policy(&self) -> Vec<String> {
        let log = self.call(Method::POST, "/se/log", Some(json!({"type": "browser"}))).await;
        let messages = log.as_array().unwrap().iter().map(|entry| entry["message"].as_str().unwrap().to_owned());
        messages.filter(|message| message.contains("Content Security Policy") || message.contains("Trusted")).collect()
    }

    /// Waits until an expression is true. One that a page was left with has no answer, and is asked again on the next.
    pub async fn until(&self, expression: &str, within: Duration) {
        let begun = Instant::now();
        loop {
            let found = self.try_value(expression).await;
            if found == Ok(json!(true)) {
                break;
            }
            assert!(begun.elapsed() < within, "not within {within:?}: {expression}, {found:?} at {}", self.address().await);
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Shows pages as wide and high as this from now on, whatever the window.
    pub async fn resize(&self, width: u32, height: u32) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        let command = json!({"cmd": "Emulation.setDeviceMetricsOverride", "params": size});
        self.call(Method::POST, "/goog/cdp/execute", Some(command)).await;
    }

    /// What the page looks like down to so many pixels, also where one would have to scroll to, as PNG.
    pub async fn picture(&self, most: u32) -> Vec<u8> {
        let page = self.value("[innerWidth, Math.max(innerHeight, document.documentElement.scrollHeight)]").await;
        let height = page[1].as_u64().unwrap().min(most.into());
        let clip = json!({"x": 0, "y": 0, "width": page[0], "height": height, "scale": 1});
        let params = json!({"format": "png", "captureBeyondViewport": true, "clip": clip});
        let command = json!({"cmd": "Page.captureScreenshot", "params": params});
        let picture = self.call(Method::POST, "/goog/cdp/execute", Some(command)).await;
        STANDARD.decode(picture["data"].as_str().unwrap()).unwrap()
    }

    /// Says whether the system prefers dark pages.
    pub async fn prefer_dark(&self, dark: bool) {
        let scheme = if dark { "dark" } else { "light" };
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        let command = json!({"cmd": "Emulation.setEmulatedMedia", "params": {"features": features}});
        self.call(Method::POST, "/goog/cdp/execute", Some(command)).await;
    }

    /// Presses a key on what has the focus.
    pub async fn press(&self, key: char) {
        self.keys(&json!([{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}])).await;
    }

    /// Types a text into what has the focus.
    pub async fn write(&self, text: &str) {
        for letter in text.chars() {
            self.press(letter).await;
        }
    }

    async fn keys(&self, actions: &Value) {
        let body = json!({"actions": [{"type": "key", "id": "keyboard", "actions": actions}]});
        self.call(Method::POST, "/actions", Some(body)).await;
    }

    /// Opens a further tab and goes on in it; its handle.
    pub async fn tab(&self) -> String {
        let handle = self.call(Method::POST, "/window/new", Some(json!({"type": "tab"}))).await["handle"].clone();
        self.switch(handle.as_str().unwrap()).await;
        handle.as_str().unwrap().to_owned()
    }

    /// Handles of all tabs and windows.
    pub async fn windows(&self) -> Vec<String> {
        serde_json::from_value(self.call(Method::GET, "/window/handles", None).await).unwrap()
    }

    /// Goes on in another tab or window.
    pub async fn switch(&self, handle: &str) {
        self.call(Method::POST, "/window", Some(json!({"handle": handle}))).await;
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // A killed driver leaves its browser behind, so the driver ends it first; also when the test has failed.
        if let Some((_, path)) = self.url.split_once("/session/")
            && let Ok(mut driver) = TcpStream::connect(("127.0.0.1", self.port))
        {
            let _ = driver.set_read_timeout(Some(Duration::from_secs(10)));
            let _ = write!(driver, "DELETE /session/{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
            let _ = driver.read(&mut [0; 64]);
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
