<?php
header('Content-Type: text/plain; charset=utf-8');
if (!isset($_FILES['file']['tmp_name']) || !is_uploaded_file($_FILES['file']['tmp_name'])) {
    http_response_code(400);
    exit("There is no file.\n");
}
printf("%s %d %s\n", $_FILES['file']['name'], $_FILES['file']['size'], hash_file('sha256', $_FILES['file']['tmp_name']));
