# shellcheck shell=bash
# Runs once, as root, when an instance starts. The template puts the settings before this text:
# STACK, REGION, ARCHIVE, ARCHIVE_SHA256, IMAGE, TARGET_GROUP, LOG_GROUP. CloudFormation gets a
# success signal only once a photo was captioned on the GPU and the load balancer sends requests
# here. It gets a failure signal at once, and rolls back; the log group gets the step that failed.
set -euo pipefail

export AWS_DEFAULT_REGION=$REGION
PATH=$PATH:/opt/aws/bin
root=${TEST_ROOT:-} # tests use a folder of their own
folder=$root/opt/captioner
units=$root/etc/systemd/system

instance='unknown'
step='start'
signal() {
    # Refused when no creation or update of the stack waits for it.
    cfn-signal --stack "$STACK" --resource Group --region "$REGION" --success "$1" || true
}
fail() {
    signal false
    local event='import json, sys, time
print(json.dumps([{"timestamp": int(time.time() * 1000), "message": sys.argv[1]}]))'
    event=$(python3 -c "$event" "$instance could not $step${1:+: $1}")
    local stream=(--log-group-name "$LOG_GROUP" --log-stream-name "$instance/start")
    aws logs create-log-stream "${stream[@]}" || true
    aws logs put-log-events "${stream[@]}" --log-events "$event" || true
    exit 1
}
trap fail ERR

metadata() {
    curl -fsS -m 5 --retry 5 -H "X-aws-ec2-metadata-token: $token" \
        "http://169.254.169.254/latest/meta-data/$1"
}
token=$(curl -fsS -m 5 --retry 5 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 300' \
    http://169.254.169.254/latest/api/token)
instance=$(metadata instance-id)
address=$(metadata local-ipv4)

# Some AMIs lack it.
command -v cfn-signal > /dev/null || dnf -y -q install aws-cfn-bootstrap

step='download the archive'
install -d "$folder/model-store" "$units"
aws s3 cp --only-show-errors "$ARCHIVE" "$folder/captioner.mar"
step='verify the sha256 of the archive'
echo "$ARCHIVE_SHA256  $folder/captioner.mar" | sha256sum --check --quiet
# An archive is code: only now it goes where the server, another user, looks.
install -m 644 "$folder/captioner.mar" "$folder/model-store/captioner.mar"
rm "$folder/captioner.mar"

# Before the container: a reload of systemd may take the GPU from a running container.
step='start the ready probe and the metrics'
cat > "$folder/ready.py" << 'END_OF_READY'
@include ready.py@
END_OF_READY
cat > "$folder/metrics.py" << 'END_OF_METRICS'
@include metrics.py@
END_OF_METRICS
# The probe is reached from outside, so it gets no access to the instance's credentials.
cat > "$units/captioner-ready.service" << END
[Unit]
Description=Ready probe of the captioner, for the load balancer
Wants=network-online.target
After=network-online.target
[Service]
ExecStart=/usr/bin/python3 $folder/ready.py --listen $address:8079 --predictions http://$address:8080
DynamicUser=yes
ProtectHome=yes
IPAddressDeny=169.254.169.254
Restart=always
RestartSec=1
[Install]
WantedBy=multi-user.target
END
cat > "$units/captioner-metrics.service" << END
[Unit]
Description=GPU use and queue time of the captioner, for CloudWatch
[Service]
Type=oneshot
Environment=AWS_DEFAULT_REGION=$REGION
ExecStart=/usr/bin/python3 $folder/metrics.py --stack $STACK --state /var/lib/captioner-metrics/counts
DynamicUser=yes
ProtectHome=yes
StateDirectory=captioner-metrics
END
cat > "$units/captioner-metrics.timer" << 'END'
[Unit]
Description=Every minute
[Timer]
OnCalendar=minutely
AccuracySec=1
[Install]
WantedBy=timers.target
END
systemctl daemon-reload
systemctl enable --now docker.service captioner-ready.service captioner-metrics.timer

step='pull the image'
registry=${IMAGE%%/*}
aws ecr get-login-password --region "$(echo "$registry" | cut -d . -f 4)" |
    docker login --username AWS --password-stdin "$registry"
docker pull --quiet "$IMAGE"
docker logout "$registry"

step='start the container'
# A fifth of the memory is left to the system, whatever the server does.
memory=$(awk '/^MemTotal/ { print int($2 * 0.8) "k" }' /proc/meminfo)
# Inference listens on the instance's address, which is open to the load balancer alone; management,
# which can load code, and metrics on loopback. exec: Java loads its network code from /tmp.
# CAPTIONER_UNLIMITED: all callers have the load balancer's addresses. awslogs: the log outlives the
# instance; non-blocking: the server never waits for it.
docker run --detach --name captioner --restart always --stop-timeout 35 \
    --gpus all --env NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    --env CAPTIONER_MANAGEMENT=0.0.0.0:8081 --env CAPTIONER_METRICS=0.0.0.0:8082 \
    --env CAPTIONER_UNLIMITED=0.0.0.0/0 \
    --publish "$address:8080:8080" --publish 127.0.0.1:8081:8081 --publish 127.0.0.1:8082:8082 \
    --read-only --tmpfs /tmp:rw,exec,nosuid,nodev,size=2g \
    --mount "type=bind,source=$folder/model-store,target=/model-store,readonly" \
    --memory "$memory" --memory-swap "$memory" --pids-limit 1024 \
    --cap-drop ALL --security-opt no-new-privileges \
    --log-driver awslogs --log-opt mode=non-blocking --log-opt "awslogs-region=$REGION" \
    --log-opt "awslogs-group=$LOG_GROUP" --log-opt "awslogs-stream=$instance" \
    "$IMAGE"

step='caption a photo'
for _ in $(seq 120); do
    state=$(curl -sS -m 25 "http://$address:8079/ready" 2>&1 || true)
    [ "$state" != captioned ] || break
    sleep 5
done
[ "$state" = captioned ] || fail "$state"

step='find the captioner on the GPU' # an image without CUDA captions on the CPU, slowly
[ -n "$(nvidia-smi --query-compute-apps=pid --format=csv,noheader)" ]

step='become a healthy target of the load balancer'
aws elbv2 wait target-in-service --target-group-arn "$TARGET_GROUP" --targets "Id=$instance"

signal true
