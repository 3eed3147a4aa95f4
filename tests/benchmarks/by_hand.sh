# Makes one hosting account as an administrator would by hand: by_hand.sh UID DOMAIN. No more is checked than its commands do.
set -eu
uid=$1 domain=$2 user=m$1 home=/srv/m/m$1

groupadd --gid "$uid" "$user"
useradd --uid "$uid" --gid "$uid" --home-dir /home --no-create-home --shell /usr/sbin/nologin "$user"
setquota -u "$user" 5000000 5000000 200000 200000 /
mkdir -p "$home/home/sites/main/public" "$home/home/tmp" "/var/log/by-hand/$user"
chown -R "$user:$user" "$home/home"
chmod 0755 "$home"
chmod 0751 "$home/home"

cat >"/etc/systemd/system/by-$user.slice" <<UNIT
[Slice]
CPUQuota=50%
MemoryMax=512M
MemorySwapMax=0
TasksMax=100
UNIT
cat >"/etc/by-hand-$user.conf" <<POOL
[global]
error_log = /var/log/by-hand/$user/php.log
[$user]
user = $user
group = $user
listen = /run/by-hand-$user.sock
listen.owner = www-data
listen.mode = 0600
pm = ondemand
pm.max_children = 5
POOL
cat >"/etc/systemd/system/by-hand-$user.service" <<UNIT
[Service]
Type=notify
Slice=by-$user.slice
ExecStart=/usr/sbin/php-fpm8.2 --nodaemonize --fpm-config /etc/by-hand-$user.conf
[Install]
WantedBy=multi-user.target
UNIT
php-fpm8.2 -t --fpm-config "/etc/by-hand-$user.conf" 2>/dev/null
systemctl daemon-reload
systemctl --quiet enable --now "by-hand-$user.service"

usermod --password '$y$j9T$lcVeNDJqcUvMzMyOx0oLb0$nRkHQhjcDPWwIDHzv5HwQXdVSYqvZuGaDO0u3WiIWx9' "$user"
mkdir -p /etc/ssh/by-hand
echo "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0nmEKAxwFvCnPdEfbvYgGkHkMtpWuVVZ3o0D7rpwJj someone" >"/etc/ssh/by-hand/$user"
mariadb -e "CREATE DATABASE ${user}_main; CREATE USER $user@localhost IDENTIFIED VIA unix_socket;
GRANT ALL ON ${user}_main.* TO $user@localhost"

openssl req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -subj "/CN=$domain" -days 365 \
    -keyout "/etc/ssl/private/$user.key" -out "/etc/ssl/certs/$user.pem" 2>/dev/null
cat >"/etc/nginx/conf.d/$user.conf" <<VHOST
server {
    listen 80;
    listen 443 ssl;
    server_name $domain;
    ssl_certificate /etc/ssl/certs/$user.pem;
    ssl_certificate_key /etc/ssl/private/$user.key;
    root $home/home/sites/main/public;
    access_log /var/log/by-hand/$user/access.log;
    location ~ \.php\$ { include fastcgi_params; fastcgi_pass unix:/run/by-hand-$user.sock; }
}
VHOST
ulimit -n 65536 # nginx opens two logs for each vhost
nginx -t -q
systemctl reload nginx
echo '*/5 * * * * true' | crontab -u "$user" -
